"""Two-dimensional position tables: sine-cosine values, and resizing to another grid.

Paper: MAE (arXiv:2111.06377) appendix A.1 uses fixed sine-cosine positions; MIMDet resizes them.

Shapes: a table is (1, 1 + G*G, D); slot 0 belonged to the class token and is never used here.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def sine_cosine_1d(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of `positions` (N,) at `width / 2` frequencies: (N, width)."""
    exponent = torch.arange(width // 2, dtype=torch.float64) / (width / 2)
    angles = positions.double()[:, None] / 10000**exponent  # (N, width/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sine_cosine_table(width: int, grid: int) -> Tensor:
    """Positions of a grid x grid map: columns in the first half of the channels, rows second.

    Slot 0 is zero. `width` is divisible by 4.
    """
    if width % 4:
        raise ValueError(f"sine-cosine positions need a width divisible by 4, not {width}")
    side = torch.arange(grid)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    table = torch.cat(
        [
            sine_cosine_1d(columns.flatten(), width // 2),
            sine_cosine_1d(rows.flatten(), width // 2),
        ],
        dim=1,
    )  # (G*G, D)
    return F.pad(table, (0, 0, 1, 0)).float()[None]  # (1, 1 + G*G, D)


def resize_table(table: Tensor, height: int, width: int) -> Tensor:
    """Positions of a height x width map, without slot 0: (1, height * width, D).

    Bicubic without antialiasing, as MAE's users do; the identity where the sizes agree.
    """
    slots = table[:, 1:]  # (1, G*G, D)
    side = round(slots.shape[1] ** 0.5)
    if (height, width) == (side, side):
        return slots
    square = slots.transpose(1, 2).reshape(1, -1, side, side)  # (1, D, G, G)
    resized = F.interpolate(square.float(), (height, width), mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)  # (1, height*width, D)


def resize_square_table(table: Tensor, shape: torch.Size) -> Tensor:
    """A stored table brought to the square grid that a model of `shape` (1, 1 + G*G, D) has."""
    stored = table.shape[1] - 1 if table.ndim == 3 else 0
    if stored < 1 or round(stored**0.5) ** 2 != stored:
        raise ValueError("without the class token's, these positions do not form a square")
    side = round((shape[1] - 1) ** 0.5)
    return torch.cat([table[:, :1], resize_table(table, side, side)], dim=1)
