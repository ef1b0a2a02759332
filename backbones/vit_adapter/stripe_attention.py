"""Dense cross-attention between the maps of several scales: global, cross-shaped, pale-shaped.

Paper: ViT-Adapter (arXiv:2205.08534), section 4.4 and table 7, which replaces deformable attention
by global attention, CSwin's (arXiv:2107.00652) or Pale's (arXiv:2112.14000) and does not say how
the last two, made for one map, become cross-attention between three scales. The design here:

- The image is cut into stripes of 32 pixels: a row of the stride-32 map, two rows of the
  stride-16 map, four of the stride-8 map. A query sees all cells of its own stripe, on every scale.
- Half of the heads use horizontal stripes, the other half vertical ones, as CSwin and Pale do.
- `cswin` sees one stripe. `pale` sees two interlaced ones: of n stripes, stripe i goes with
  stripe i + n/2, so that each half-head reaches over half of the image, at twice the cost.
- Neither has the positional convolution that both papers add to the values: it needs the value at
  the query's own cell, which a query of another scale does not have.

Multiply-accumulates of ViT-Adapter-S at 800 x 1280 pixels above those of deformable attention,
computed here and stated in the paper: global 677 G and 677 G, CSwin 53 G and 53 G, Pale 75 G and
55 G. So the paper's CSwin sees what ours does; its Pale reads fewer stripes or thinner ones.

Shapes: query (B, Q, D), tokens of the query's grids in raster order, grid after grid; features
(B, S, D) likewise; M heads of C channels. The output is (B, Q, D).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.vit_adapter.deform_attention import Grid


class GlobalAttention(nn.Module):
    """Every query attends to every cell of every scale; `inner` is the width of all heads."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, inner)
        self.k = nn.Linear(width, inner)
        self.v = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated-normal matrices, zero biases, as in the rest of the adapter."""
        for projection in (self.q, self.k, self.v, self.out):
            nn.init.trunc_normal_(projection.weight, std=0.02)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        query_grids: Sequence[Grid],
        features: Tensor,
        feature_grids: Sequence[Grid],
    ) -> Tensor:
        """Attended features, (B, Q, D)."""
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1))  # (B, Q or S, M, C)
            for projection, x in ((self.q, query), (self.k, features), (self.v, features))
        )
        return self.out(self.attend(q, query_grids, k, v, feature_grids).flatten(2))

    def attend(
        self, q: Tensor, q_grids: Sequence[Grid], k: Tensor, v: Tensor, grids: Sequence[Grid]
    ) -> Tensor:
        """Softmax attention of all heads, (B, Q, M, C)."""
        return attention(q, k, v)


class StripeAttention(GlobalAttention):
    """Queries attend within their own stripe, or within `stripes` interlaced ones."""

    def __init__(self, width: int, inner: int, heads: int, stripes: int) -> None:
        if heads % 2:
            raise ValueError(f"stripes in two directions need an even number of heads, not {heads}")
        super().__init__(width, inner, heads)
        self.stripes = stripes

    def attend(
        self, q: Tensor, q_grids: Sequence[Grid], k: Tensor, v: Tensor, grids: Sequence[Grid]
    ) -> Tensor:
        """Horizontal stripes in the first half of the heads, vertical ones in the second."""
        halves = []
        for axis, (q_half, k_half, v_half) in enumerate(
            zip(q.chunk(2, dim=2), k.chunk(2, dim=2), v.chunk(2, dim=2), strict=True)
        ):
            count = min(grid[axis] for grid in (*q_grids, *grids))  # rows of the coarsest map
            groups = -(-count // self.stripes)
            q_group, k_group, v_group = (
                interlace(to_stripes(x, on, count, axis), groups)
                for x, on in ((q_half, q_grids), (k_half, grids), (v_half, grids))
            )  # (B, groups, T, M/2, C)
            mask = real_keys(count, groups, k_group)
            inside = attention(
                q_group.flatten(0, 1), k_group.flatten(0, 1), v_group.flatten(0, 1), mask
            )
            stripes = disentangle(torch.unflatten(inside, 0, (-1, groups)), count)
            halves.append(from_stripes(stripes, q_grids, axis))
        return torch.cat(halves, dim=2)  # (B, Q, M, C)


def real_keys(count: int, groups: int, keys: Tensor) -> Tensor | None:
    """Keys of true stripes, (B * groups, 1, 1, T), where `count` does not fill all groups."""
    per_group = -(-count // groups)
    if count == groups * per_group:
        return None
    images, _, tokens = keys.shape[:3]
    stripe = torch.arange(groups * per_group, device=keys.device) < count
    real = stripe.view(per_group, groups).T  # (groups, stripes of a group)
    real = real.repeat_interleave(tokens // per_group, dim=1)  # (groups, T)
    return real.repeat(images, 1)[:, None, None]


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, heads apart: (B, Q, M, C), from keys and values (B, S, M, C)."""
    queries, keys, values = (x.transpose(1, 2) for x in (q, k, v))  # (B, M, Q or S, C)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask).transpose(1, 2)


def to_stripes(tokens: Tensor, grids: Sequence[Grid], count: int, axis: int) -> Tensor:
    """Tokens (B, N, m, C) of all grids, by stripe across `axis`: (B, count, N / count, m, C)."""
    maps = torch.split(tokens, [height * width for height, width in grids], dim=1)
    parts = []
    for cells, grid in zip(maps, grids, strict=True):
        lines = torch.unflatten(cells, 1, grid)  # (B, h, w, m, C)
        lines = lines.transpose(1, 2) if axis else lines
        parts.append(torch.unflatten(lines, 1, (count, -1)).flatten(2, 3))
    return torch.cat(parts, dim=2)


def from_stripes(stripes: Tensor, grids: Sequence[Grid], axis: int) -> Tensor:
    """Undo `to_stripes`: (B, N, m, C) in raster order."""
    count = stripes.shape[1]
    parts = torch.split(stripes, [h * w // count for h, w in grids], dim=2)
    maps = []
    for part, grid in zip(parts, grids, strict=True):
        across = grid[1 - axis]
        lines = torch.unflatten(part, 2, (-1, across)).flatten(1, 2)  # (B, h, w, m, C), or w, h
        lines = lines.transpose(1, 2) if axis else lines
        maps.append(lines.flatten(1, 2))
    return torch.cat(maps, dim=1)


def interlace(stripes: Tensor, groups: int) -> Tensor:
    """Put stripes i, i + groups, ... of (B, n, t, m, C) together, zeros where they end."""
    missing = -stripes.shape[1] % groups
    filled = F.pad(stripes, (0, 0, 0, 0, 0, 0, 0, missing))
    return torch.unflatten(filled, 1, (-1, groups)).transpose(1, 2).flatten(2, 3)


def disentangle(grouped: Tensor, count: int) -> Tensor:
    """Undo `interlace`: the first `count` stripes, (B, count, t, m, C)."""
    groups = grouped.shape[1]
    per_group = -(-count // groups)
    apart = torch.unflatten(grouped, 2, (per_group, -1)).transpose(1, 2)  # (B, s, groups, t, m, C)
    return apart.flatten(1, 2)[:, :count]
