"""Multi-scale deformable attention without a compiled operator.

Paper: Zhu et al., "Deformable DETR", ICLR 2021 (arXiv:2010.04159), section 4.1; the defaults are
those of ViT-Adapter (arXiv:2205.08534), section 3.4.

Shapes, for B images, Q queries, M heads of C channels, P points on each of L levels:
    value      (B, S, M, C), S the cells of all levels in raster order, level after level
    locations  (B, Q, M, L, P, 2) as x and y, 0 to 1 over each level's map
    weights    (B, Q, M, L, P)
    sums       (B, Q, M * C)
inside: R rows of C channels, K = B * Q * M bags of T = 4 * L * P taps.

The bilinear sample of a point is the weighted sum of four cells, so a query's head is the weighted
sum of 4 * L * P rows of `value`: one embedding bag, which gathers and sums without an intermediate.
The gradient of a row is again a bag, over the taps that read it, in the order of a stable sort.
So every sum has a fixed order, on a GPU too, where the backward of `grid_sample` has none:
deterministic training needs no slower second path.

Differs from upstream (czczup/ViT-Adapter, fd64a51): no CUDA extension. Sums are in single
precision under autocast, as there.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Grid = tuple[int, int]
"""Height and width of a map in cells."""


def deformable_sum(
    value: Tensor, grids: Sequence[Grid], locations: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sums of bilinear samples, zero outside the maps: (B, Q, M * C)."""
    images, queries = locations.shape[:2]
    rows = bordered(value, grids).flatten(0, 2)  # (R, C)
    index, taps = Taps.apply(locations, weights, grids)  # (K, T) each
    bags = F.embedding_bag(index, rows.detach(), mode="sum", per_sample_weights=taps)
    return RowGradient.apply(bags, rows, index, taps).view(images, queries, -1)


def bordered(value: Tensor, grids: Sequence[Grid]) -> Tensor:
    """`value` with one ring of zero cells around every level, where samples from outside end."""
    images, _, heads, channels = value.shape
    maps = torch.split(value.flatten(2), [height * width for height, width in grids], dim=1)
    ringed = [
        F.pad(torch.unflatten(cells, 1, grid), (0, 0, 1, 1, 1, 1)).flatten(1, 2)
        for cells, grid in zip(maps, grids, strict=True)
    ]  # each (B, (h + 2) * (w + 2), M * C)
    return torch.cat(ringed, dim=1).view(images, -1, heads, channels)


def on_cells(locations: Tensor, grids: Sequence[Grid]) -> tuple[Tensor, Tensor]:
    """Locations in cells, whose centres are whole numbers, and the maps' sizes (L, 1, 2).

    A point beyond the ring stays beyond it.
    """
    sizes = locations.new_tensor([(width, height) for height, width in grids])[:, None]
    return torch.addcmul(locations.new_tensor(-0.5), locations, sizes), sizes


def corners(places: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """The upper left one of the four cells around each point, and how far the point is from it.

    A point beyond the ring counts as on the ring. `fmin` also gives a point that is not a number
    a cell that exists; its distance is still not a number.
    """
    places = places.clamp(-torch.ones_like(sizes), sizes)
    cells = torch.fmin(places.floor(), sizes - 1)
    return cells, places - cells


def tap_index(cells: Tensor, grids: Sequence[Grid]) -> Tensor:
    """Rows of the flattened `bordered` value around each of `cells`: (B, Q, M, L, P, 4) int32.

    The order is upper left, upper right, lower left, lower right.
    """
    images, _, heads = cells.shape[:3]
    whole: dict[str, Any] = {"device": cells.device, "dtype": torch.int32}
    counts = [(height + 2) * (width + 2) for height, width in grids]
    below = torch.tensor([width + 2 for _, width in grids], **whole)[:, None]  # (L, 1)
    before = torch.tensor([0, *counts[:-1]], **whole).cumsum(0, dtype=torch.int32)[:, None]
    image = torch.arange(images, **whole)[:, None, None, None, None] * sum(counts)
    head = torch.arange(heads, **whole)[:, None, None]  # (M, 1, 1)
    origin = (image + before + below + 1) * heads + head  # row of cell 0, 0: (B, 1, M, L, 1)
    column, row = cells.int().unbind(-1)
    first = torch.addcmul(
        torch.addcmul(origin, row, below * heads), column, column.new_tensor(heads)
    )
    right = torch.ones_like(below)
    steps = torch.stack([right - 1, right, below, below + right], dim=-1)  # (L, 1, 4)
    return first[..., None] + steps * heads


class Taps(torch.autograd.Function):
    """The rows around every point, and their weights: bilinear shares times attention weights."""

    @staticmethod
    def forward(
        ctx: Any, locations: Tensor, weights: Tensor, grids: Sequence[Grid]
    ) -> tuple[Tensor, Tensor]:
        """Index and weights, (K, T) each."""
        ctx.save_for_backward(locations, weights)
        ctx.grids = grids
        cells, distance = corners(*on_cells(locations, grids))
        dx, dy = distance.unbind(-1)
        lower = weights * dy
        upper = weights - lower
        upper_right, lower_right = upper * dx, lower * dx
        shares = [upper - upper_right, upper_right, lower - lower_right, lower_right]
        index = tap_index(cells, grids).flatten(3).flatten(0, 2)
        ctx.mark_non_differentiable(index)
        return index, torch.stack(shares, dim=-1).flatten(3).flatten(0, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, unused: None, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of locations and attention weights."""
        locations, weights = ctx.saved_tensors
        places, sizes = on_cells(locations, ctx.grids)
        distance = corners(places, sizes)[1]
        dx, dy = distance.unbind(-1)
        upper_left, upper_right, lower_left, lower_right = grad.view(*weights.shape, 4).unbind(-1)
        upper, lower = upper_left.lerp(upper_right, dx), lower_left.lerp(lower_right, dx)
        across = (upper_right - upper_left).lerp(lower_right - lower_left, dy)
        along = torch.stack([across * weights, (lower - upper) * weights], dim=-1) * sizes
        along.masked_fill_((places <= -1) | (places >= sizes), 0)  # beyond the ring
        return along, upper.lerp(lower, dy), None


class RowGradient(torch.autograd.Function):
    """Passes `bags`, sums of rows, through, and gives `rows` the gradient that bags do not track.

    `embedding_bag` itself would add a row at a time. Sorted by row, the taps form bags again.
    """

    @staticmethod
    def forward(ctx: Any, bags: Tensor, rows: Tensor, index: Tensor, taps: Tensor) -> Tensor:
        """`bags` (K, C), made of `rows` (R, C) at `index` (K, T) weighted by `taps` (K, T)."""
        ctx.save_for_backward(index, taps)
        ctx.rows = rows.shape[0]
        return bags.view_as(bags)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """The gradient of the bags unchanged, and that of the rows."""
        if not ctx.needs_input_grad[1]:
            return grad, None, None, None
        index, taps = ctx.saved_tensors
        read = index.flatten()
        order = read.sort(stable=True).indices
        counts = read.bincount(minlength=ctx.rows)
        rows = F.embedding_bag(
            (order // index.shape[1]).int(),  # the bag of each tap
            grad.contiguous(),
            (counts.cumsum(0) - counts).int(),
            mode="sum",
            per_sample_weights=taps.flatten()[order],
        )
        return grad, rows, None, None


def ring(heads: int, levels: int, points: int) -> Tensor:
    """Initial offsets in cells: heads look in different directions, points ever further.

    (heads * levels * points * 2,), x and y; the larger of the two is the point's number from 1.
    """
    angles = torch.arange(heads) * (2 * math.pi / heads)
    directions = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (M, 2)
    directions = directions / directions.abs().amax(dim=1, keepdim=True)
    reach = torch.arange(1, points + 1)[:, None]  # (P, 1)
    return (directions[:, None, None] * reach).expand(-1, levels, -1, -1).flatten()


class DeformableAttention(nn.Module):
    """Each query reads a few learned points on every level of the features around its own place.

    `value_width` is the width of what is read, shared by `heads`.
    """

    def __init__(
        self, width: int, value_width: int, *, heads: int, levels: int, points: int
    ) -> None:
        super().__init__()
        self.layout = (heads, levels, points)
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, value_width)
        self.output_proj = nn.Linear(value_width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Points on a ring around the query, equal weights."""
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(ring(*self.layout))
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        query_grids: Sequence[Grid],
        features: Tensor,
        feature_grids: Sequence[Grid],
    ) -> Tensor:
        """`query` (B, Q, D), tokens of `query_grids`; `features` (B, S, D): (B, Q, D)."""
        images, queries = query.shape[:2]
        heads, levels, points = self.layout
        value = self.value_proj(features).unflatten(-1, (heads, -1))  # (B, S, M, C)
        offsets = self.sampling_offsets(query).view(images, queries, heads, levels, points, 2)
        weights = self.attention_weights(query).view(images, queries, heads, -1)
        weights = weights.float().softmax(-1).unflatten(-1, (levels, points))
        sizes = offsets.new_tensor([(w, h) for h, w in feature_grids], dtype=torch.float32)
        places = centres(query_grids, query.device)[:, None, None, None]  # (Q, 1, 1, 1, 2)
        locations = places + offsets.float() / sizes[:, None]  # (B, Q, M, L, P, 2)
        sums = deformable_sum(value.float(), feature_grids, locations, weights)
        return self.output_proj(sums.to(value.dtype))


def centres(grids: Sequence[Grid], device: torch.device) -> Tensor:
    """Centres of all cells as x and y between 0 and 1: (Q, 2) in raster order, grid after grid."""
    places = []
    for height, width in grids:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        places.append(torch.stack([columns, rows], dim=-1).flatten(0, 1))
    return torch.cat(places)
