"""Relative positions as a bias on attention logits: a number per offset of query and key and head.

Paper: Li et al. 2021 (arXiv:2111.11429), section 3; BEiT (arXiv:2106.08254) before them.

Shapes, for grids of h x w tokens, N = h * w:
    table  ((2S - 1)^2, heads), offsets -(S - 1) .. S - 1 of rows and columns, row-major
    bias   (1, heads, N, N), queries first

Tables are read by sliding windows, not by an N x N index: nothing but the bias is N x N, and the
backward pass sums in a fixed order on every device.
"""

from itertools import accumulate

import torch
from torch import Tensor


def table_bias(table: Tensor, height: int, width: int) -> Tensor:
    """Bias (1, heads, N, N) from a table ((2S - 1)^2, heads) of row-major offsets; S >= h, w."""
    span = round(table.shape[0] ** 0.5)
    square = table.reshape(span, span, -1)  # (2S - 1, 2S - 1, heads)
    top, left = (span + 1) // 2 - height, (span + 1) // 2 - width
    square = square[top : top + 2 * height - 1, left : left + 2 * width - 1]
    slid = square.unfold(0, height, 1).unfold(1, width, 1)  # (h, w, heads, h, w), keys falling
    ordered = slid.permute(2, 0, 1, 3, 4).flip(3, 4)  # (heads, h, w, h, w)
    return ordered.reshape(1, -1, height * width, height * width)


def resize_offset_table(table: Tensor, shape: torch.Size) -> Tensor:
    """A table ((2S - 1)^2, heads) of row-major offsets, for windows of another side.

    As in BEiT's code, stored offsets are spaced more widely away from the centre, so that
    neighbours stay neighbours. Between them values are linear, as in timm (BEiT: splines).
    """
    stored, wanted = round(len(table) ** 0.5), round(shape[0] ** 0.5)
    if table.ndim != 2 or stored**2 != len(table) or stored % 2 == 0 or stored < 3:
        raise ValueError("these are not the offsets within a square window")
    weights = _line_weights(stored, wanted)
    square = table.double().reshape(stored, stored, -1)
    resized = torch.einsum("rh,cw,hwn->rcn", weights, weights, square)
    return resized.flatten(0, 1).to(table.dtype)


def _line_weights(stored: int, wanted: int) -> Tensor:
    """Shares (wanted, stored) of the stored offsets of a line in each of the wanted ones."""
    reach = wanted // 2
    places = torch.tensor(_places(stored // 2, reach), dtype=torch.float64)
    places = torch.cat([-places.flip(0), torch.zeros(1, dtype=torch.float64), places])
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    right = torch.searchsorted(places, offsets).clamp(1, stored - 1)
    gap = places[right] - places[right - 1]
    share = ((offsets - places[right - 1]) / gap).clamp(0, 1)
    weights = torch.zeros(wanted, stored, dtype=torch.float64)
    weights.scatter_(1, right[:, None], share[:, None])
    return weights.scatter_(1, right[:, None] - 1, 1 - share[:, None])


def _places(count: int, reach: int) -> list[float]:
    """Distances 1, 1 + q, 1 + q + q^2, ... of `count` offsets, the last one at `reach`."""
    low, high = 0.0, float(max(2, reach))
    for _ in range(100):
        growth = (low + high) / 2
        places = list(accumulate(growth**i for i in range(count)))
        low, high = (low, growth) if places[-1] > reach else (growth, high)
    return places
