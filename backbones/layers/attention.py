"""Self-attention over a grid of tokens, whole or in windows, on PyTorch's fused kernels.

Papers: Li et al., ECCV 2022 (arXiv:2203.16527), section 3, for `RelativeAttention`; ViT-Adapter
(arXiv:2205.08534), section 4.1, and Li et al. 2021 (arXiv:2111.11429) for `GridAttention`; BEiT
(arXiv:2106.08254) as ViT-Adapter uses it, appendix A.1, for `BiasedAttention`.

Shapes, for B grids of h x w tokens of width D, n heads of d = D / n channels:
    grid             (B, h, w, D) in and out
    queries and so   (B', n, N, d), windows folded into the batch B', N tokens in each

They differ in what fills a window at the edge of a grid. Filled before `qkv`, the zeros become
keys and values that carry the projection's bias; filled after it (`GridAttention`), they are zeros.
Either way they take part in the softmax, unmasked, as in the released codes; checkpoints are not
interchangeable.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.relative_positions import decomposed_bias, table_bias
from backbones.layers.windows import from_windows, to_windows


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, n, h * w, d), of a projected grid (B, h, w, 3 D)."""
    batch, height, width, channels = qkv.shape
    parts = qkv.reshape(batch, height * width, 3, heads, channels // (3 * heads))
    queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
    return queries, keys, values


def merge_heads(values: Tensor, height: int, width: int) -> Tensor:
    """A grid (B, h, w, D) of attended values (B, n, h * w, d)."""
    batch, heads, _, channels = values.shape
    return values.transpose(1, 2).reshape(batch, height, width, heads * channels)


class GridAttention(nn.Module):
    """Attention over the whole grid, or in windows that are filled up after `qkv`."""

    def __init__(self, width: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, grid: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attended grid; `bias` is (1, n, N, N) on the logits."""
        height, width = grid.shape[1:3]
        qkv = self.qkv(grid)  # (B, h, w, D) -> (B, h, w, 3 D)
        if self.window is not None:
            qkv = to_windows(qkv, self.window)  # -> (B', s, s, 3 D)
        queries, keys, values = split_heads(qkv, self.heads)
        if bias is not None:
            bias = bias.to(queries.dtype)
        values = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        attended = merge_heads(values, *qkv.shape[1:3])
        if self.window is not None:
            attended = from_windows(attended, height, width)
        return self.proj(attended)


class RelativeAttention(nn.Module):
    """Attention with decomposed relative positions, in windows that are filled up before `qkv`.

    `side` is the side of the grid that the tables are stored for; a window's own side replaces it.
    Materialised beside queries, keys and values: the bias, (B', n, N, N), once.
    """

    def __init__(
        self, width: int, heads: int, side: int, window: int | None = None, relative: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative = relative
        if relative:
            shape = (2 * (window or side) - 1, width // heads)
            self.rel_pos_h = nn.Parameter(torch.zeros(shape))
            self.rel_pos_w = nn.Parameter(torch.zeros(shape))

    def forward(self, grid: Tensor) -> Tensor:
        """Attended grid."""
        height, width = grid.shape[1:3]
        parts = grid if self.window is None else to_windows(grid, self.window)  # (B', s, s, D)
        queries, keys, values = split_heads(self.qkv(parts), self.heads)
        bias = None
        if self.relative:  # of the queries as they are: only the product with keys is scaled
            bias = decomposed_bias(queries, self.rel_pos_h, self.rel_pos_w, *parts.shape[1:3])
        values = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        attended = merge_heads(values, *parts.shape[1:3])
        if self.window is not None:
            attended = from_windows(attended, height, width)
        return self.proj(attended)


class BiasedAttention(nn.Module):
    """Attention in windows of side `window`, filled up before `qkv`, with BEiT's relative biases.

    The table has a number per offset of query and key and per head, as in Li et al. 2021, but every
    block has its own. Materialised: the bias, (1, n, N, N), N = window^2.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, grid: Tensor) -> Tensor:
        """Attended grid."""
        height, width = grid.shape[1:3]
        parts = to_windows(grid, self.window)  # (B, h, w, D) -> (B', s, s, D)
        queries, keys, values = split_heads(self.qkv(parts), self.heads)
        bias = table_bias(self.relative_position_bias_table, self.window, self.window)
        values = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=bias.to(queries.dtype)
        )
        attended = merge_heads(values, self.window, self.window)
        return self.proj(from_windows(attended, height, width))
