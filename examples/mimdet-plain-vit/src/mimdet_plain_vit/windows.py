"""Windows of a grid of tokens, as in ViTDet (arXiv:2203.16527), section 3.

Shapes, for B grids of h x w tokens of width D and windows of side s:
    grid     (B, h, w, D)
    windows  (B * n, s * s, D) with n = ceil(h / s) * ceil(w / s), row by row
"""

from torch import Tensor
from torch.nn import functional as F


def cut(grid: Tensor, side: int) -> Tensor:
    """Windows of a grid that is filled up with zeros at the bottom and the right."""
    batch, height, width, channels = grid.shape
    rows, columns = -(-height // side), -(-width // side)
    grid = F.pad(grid, (0, 0, 0, columns * side - width, 0, rows * side - height))
    split = grid.reshape(batch, rows, side, columns, side, channels)
    return split.transpose(2, 3).reshape(-1, side * side, channels)


def joined(windows: Tensor, side: int, height: int, width: int) -> Tensor:
    """The grid of h x w tokens that `cut` made them of."""
    rows, columns = -(-height // side), -(-width // side)
    split = windows.reshape(-1, rows, columns, side, side, windows.shape[-1]).transpose(2, 3)
    grid = split.reshape(-1, rows * side, columns * side, windows.shape[-1])
    return grid[:, :height, :width]
