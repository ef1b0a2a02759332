"""Positions of tokens: absolute ones, and BEiT's biases by offset; from files to any grid.

Papers: Dosovitskiy et al. (arXiv:2010.11929), section 3.2; BEiT (arXiv:2106.08254), section 2.1.

Shapes, for grids of h x w tokens, N = h * w, width D:
    absolute positions  (1, S * S, D), without slots of class and register tokens
    a table of offsets  ((2 * S - 1)**2, heads), row by row; the middle is offset 0
    biases              (1, heads, N, N), queries first
"""

from collections.abc import Callable

import numpy as np
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Size, Tensor


def stretched(positions: Tensor, height: int, width: int) -> Tensor:
    """Absolute positions (1, S * S, D) stretched over a grid: (1, h * w, D)."""
    resized: Tensor = resample_abs_pos_embed(positions, [height, width], num_prefix_tokens=0)
    return resized


def resize_positions(prefix: int) -> Callable[[Tensor, Size], Tensor]:
    """Resizes a file's positions, `prefix` of which are of other tokens, to a model's shape."""

    def resize(table: Tensor, shape: Size) -> Tensor:
        count = table.shape[1] - prefix if table.ndim == 3 else 0
        if count < 1 or round(count**0.5) ** 2 != count:
            raise ValueError(f"without {prefix} of other tokens these are no square of positions")
        side = round(shape[1] ** 0.5)
        return stretched(table[:, prefix:], side, side)

    return resize


def resize_offsets(table: Tensor, shape: Size) -> Tensor:
    """A file's table of offsets for windows of another side.

    Smaller windows have fewer of the same offsets; for larger ones BEiT's authors spread them, ever
    farther apart away from the middle.
    """
    stored, wanted = round(len(table) ** 0.5), round(shape[0] ** 0.5)
    if table.ndim != 2 or stored**2 != len(table) or stored % 2 == 0:
        raise ValueError("these are not the offsets within a square window")
    if wanted <= stored:
        inner = slice((stored - wanted) // 2, (stored + wanted) // 2)
        return table.reshape(stored, stored, -1)[inner, inner].flatten(0, 1)
    places, offsets = spread(stored // 2, wanted // 2), np.arange(wanted) - wanted // 2
    shares = torch.tensor(np.array([np.interp(offsets, places, one) for one in np.eye(stored)]))
    square = table.double().reshape(stored, stored, -1)
    resized = torch.einsum("hr,wc,hwn->rcn", shares, shares, square)  # linear between places
    return resized.flatten(0, 1).to(table.dtype)


def spread(count: int, reach: int) -> np.ndarray:
    """Places of `count` offsets on either side of 0: 1, 1 + q, 1 + q + q**2, ..., `reach`."""
    low, high = 1.0, float(reach)
    for _ in range(100):
        middle = (low + high) / 2
        too_far = sum(middle**i for i in range(count)) > reach
        low, high = (low, middle) if too_far else (middle, high)
    right = (low ** np.arange(count)).cumsum()
    return np.concatenate([-right[::-1], [0.0], right])


def bias(table: Tensor, side: int) -> Tensor:
    """The bias of every pair of tokens of a square of `side`: (1, heads, N, N).

    Read by sliding windows, so that no index of N x N entries is needed.
    """
    span = 2 * side - 1
    slid = table.reshape(span, span, -1).unfold(0, side, 1).unfold(1, side, 1)
    ordered = slid.permute(2, 0, 1, 3, 4).flip(3, 4)  # (heads, h, w, h, w), keys rising
    return ordered.reshape(1, -1, side**2, side**2)


def zeros(side: int, heads: int) -> torch.nn.Parameter:
    """A table of offsets that biases nothing yet."""
    return torch.nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
