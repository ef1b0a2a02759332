"""Relative positions as a bias on attention logits, learned per offset of query and key.

Papers: Li et al., ECCV 2022 (arXiv:2203.16527), section 3, and MViTv2 (arXiv:2112.01526),
section 4.1, for the decomposed form: one table of rows, one of columns, both multiplied with the
query. Li et al. 2021 (arXiv:2111.11429), section 3, for the plain form: one number per offset and
attention head, as in BEiT (arXiv:2106.08254).

Shapes, for grids of h x w tokens, N = h * w, d channels per head:
    a table of side S covers offsets -(S - 1) .. S - 1, entry S - 1 is offset 0
    queries  (B, heads, N, d)
    biases   (B or 1, heads, N, N), queries first

Tables are read by sliding windows, not by an N x N index: nothing but the bias is N x N, and the
backward pass sums in a fixed order on every device.
"""

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F


def by_offset(table: Tensor, side: int) -> Tensor:
    """Entries of `table` (2S - 1, d) for every pair on a line of `side` cells: (side, side, d).

    Entry (i, j) is that of query i and key j. A table of another length is resized linearly.
    """
    span = 2 * side - 1
    if table.shape[0] != span:
        resized = F.interpolate(table.float().T[None], span, mode="linear", align_corners=False)
        table = resized[0].T  # (2S - 1, d) -> (2 side - 1, d)
    slid = table.unfold(0, side, 1)  # (side, d, side), keys in falling order
    return slid.flip(2).transpose(1, 2)


def decomposed_bias(
    queries: Tensor, table_rows: Tensor, table_columns: Tensor, height: int, width: int
) -> Tensor:
    """Bias of each query, (B, heads, N, N), from tables of rows and columns (2S - 1, d)."""
    batch, heads, _, channels = queries.shape
    grid = queries.reshape(batch, heads, height, width, channels)
    rows = by_offset(table_rows, height).to(queries.dtype)
    columns = by_offset(table_columns, width).to(queries.dtype)
    of_rows = torch.einsum("bnhwd,hkd->bnhwk", grid, rows)  # (B, heads, h, w, h)
    of_columns = torch.einsum("bnhwd,wkd->bnhwk", grid, columns)  # (B, heads, h, w, w)
    bias = of_rows[..., None] + of_columns[..., None, :]  # (B, heads, h, w, h, w)
    return bias.flatten(4).flatten(2, 3)


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

    As BEiT's code has it, stored offsets are taken to lie ever farther apart away from the centre,
    so that neighbours stay neighbours. Between them values are linear, as in timm (BEiT: splines).
    """
    stored, wanted = round(len(table) ** 0.5), round(shape[0] ** 0.5)
    if table.ndim != 2 or stored**2 != len(table) or stored % 2 == 0 or stored < 3:
        raise ValueError("these are not the offsets of a square window")
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
