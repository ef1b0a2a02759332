"""Anchors: one size per level, several shapes per cell.

Paper: Ren et al., "Faster R-CNN" (arXiv:1506.01497), section 3.1.1; one size per pyramid level
after Lin et al., "Feature Pyramid Networks" (arXiv:1612.03144), section 4.1.

Differs from torchvision's `AnchorGenerator`: sides are not rounded, and the stride of a level is
known instead of being guessed from sizes, which is wrong for maps of odd size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Anchors(nn.Module):
    """Anchor boxes of every cell of every level, centred at multiples of the stride.

    `ratios` are height over width; `sizes` and `strides` are pixels, one per level.
    """

    cells: Tensor

    def __init__(
        self, sizes: Sequence[float], ratios: Sequence[float], strides: Sequence[int]
    ) -> None:
        super().__init__()
        if len(sizes) != len(strides):
            raise ValueError(f"{len(sizes)} anchor sizes for {len(strides)} levels")
        self.steps = tuple(strides)
        cells = torch.tensor([[_shape(size, ratio) for ratio in ratios] for size in sizes])
        self.register_buffer("cells", cells, persistent=False)  # (levels, ratios, 4)

    @property
    def per_cell(self) -> int:
        """Anchors of one cell."""
        return self.cells.shape[1]

    def forward(self, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Boxes (h * w * per_cell, 4) for each level's grid (h, w), row by row."""
        return [
            _spread(cell, grid, step)
            for cell, grid, step in zip(self.cells, grids, self.steps, strict=True)
        ]


def _shape(size: float, ratio: float) -> tuple[float, float, float, float]:
    """Box around the origin with area size * size."""
    width = math.sqrt(size * size / ratio)
    height = ratio * width
    return (-width / 2, -height / 2, width / 2, height / 2)


def _spread(cell: Tensor, grid: tuple[int, int], step: int) -> Tensor:
    """The boxes `cell` (n, 4) at every position of `grid`."""
    height, width = grid
    y = torch.arange(0, height * step, step, device=cell.device, dtype=cell.dtype)
    x = torch.arange(0, width * step, step, device=cell.device, dtype=cell.dtype)
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack((x, y, x, y), dim=-1)  # (h, w, 4)
    return (centres[:, :, None] + cell).reshape(-1, 4)  # (h, w, n, 4) -> (h * w * n, 4)
