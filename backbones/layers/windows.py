"""Windows of a token grid: partition it into squares, and join the squares again.

Paper: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022
(arXiv:2203.16527), section 3: non-overlapping windows, no shift.

Shapes, for B grids of h x w tokens with C channels and windows of side s:
    grid     (B, h, w, C)
    windows  (B * n, s, s, C) with n = ceil(h / s) * ceil(w / s), row by row
"""

from torch import Tensor
from torch.nn import functional as F


def to_windows(grid: Tensor, side: int) -> Tensor:
    """Windows of a grid, which is first padded with zeros at the bottom and right."""
    batch, height, width, channels = grid.shape
    rows, columns = -(-height // side), -(-width // side)
    grid = F.pad(grid, (0, 0, 0, columns * side - width, 0, rows * side - height))
    split = grid.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return split.reshape(batch * rows * columns, side, side, channels)


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """The grid of height x width tokens that `to_windows` partitioned, without its padding."""
    side, channels = windows.shape[1], windows.shape[3]
    rows, columns = -(-height // side), -(-width // side)
    split = windows.reshape(-1, rows, columns, side, side, channels).transpose(2, 3)
    return split.reshape(-1, rows * side, columns * side, channels)[:, :height, :width]
