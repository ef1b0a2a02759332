"""Which tokens the encoder sees: an order of all tokens, of which the first share is kept.

Paper: MIMDet (arXiv:2204.02964) section 3.1, tables 1 and 3. Each image has its own order; tokens
that only cover padding come last, so they are kept only where an image is too small to fill the
share. Random orders are the default; grid orders begin with a regular pattern, drawn here for a
share of a half, a quarter, an eighth and three quarters (x is kept; the paper shows the half only):

    x . x .    x . x .    x . . .    x x x x
    . x . x    . . . .    . . . .    x . x .
    x . x .    x . x .    . . x .    x x x x
    . x . x    . . . .    . . . .    x . x .

Shapes: N tokens in raster order of an h x w grid; orders are (B, N) permutations.
"""

from typing import Protocol

import torch
from torch import Tensor

SPREAD_STEP, SPREAD_SPAN = 40503, 65536  # their ratio is the golden one: evenly spread multiples


class Order(Protocol):
    """Chooses in which order tokens are kept."""

    def __call__(self, valid: Tensor) -> Tensor:
        """A permutation per image, (B, N) long, of `valid` (B, N): False marks padding tokens."""


def random_order(valid: Tensor) -> Tensor:
    """Uniformly random order, padding last."""
    noise = torch.rand(valid.shape, device=valid.device)
    return noise.masked_fill(~valid, 2.0).argsort(dim=1)  # drawn numbers stay below 1


def grid_pattern(height: int, width: int, ratio: float) -> Tensor:
    """Cells that the pattern of `ratio` keeps, (height, width) bool; `options.mimdet` lists ratios."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    even_row, even_column = rows % 2 == 0, columns % 2 == 0
    patterns = {
        0.125: even_row & even_column & ((rows + columns) % 4 == 0),
        0.25: even_row & even_column,
        0.5: (rows + columns) % 2 == 0,
        0.75: even_row | even_column,
        1.0: torch.ones(height, width, dtype=torch.bool),
    }
    return patterns[ratio]


def grid_order(valid: Tensor, pattern: Tensor) -> Tensor:
    """The cells of `pattern` (h, w) in raster order, then the others evenly spread, padding last.

    The others are kept only where an image is smaller than its batch's canvas, whose pattern sets
    the number of tokens for every image.
    """
    cells = torch.arange(valid.shape[1], device=valid.device)
    span = max(valid.shape[1], SPREAD_SPAN)
    rank = torch.where(
        pattern.flatten().to(valid.device), cells, span + cells * SPREAD_STEP % SPREAD_SPAN
    )
    return torch.where(valid, rank, 2 * span + cells).argsort(dim=1, stable=True)  # (B, N)


def valid_tokens(sizes: Tensor, height: int, width: int, patch: int) -> Tensor:
    """Whether a token covers any pixel of an image of `sizes` (B, 2): (B, height * width) bool."""
    filled = (sizes + patch - 1) // patch  # (B, 2) in tokens
    rows = torch.arange(height, device=sizes.device)[None, :, None] < filled[:, 0, None, None]
    columns = torch.arange(width, device=sizes.device)[None, None, :] < filled[:, 1, None, None]
    return (rows & columns).flatten(1)


def kept_count(tokens: int, ratio: float) -> int:
    """Tokens kept of `tokens`, padding counted: the floor of the share, at least one."""
    return max(1, int(tokens * ratio))


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, N, D) or (1, N, D) at `index` (B, n): (B, n, D)."""
    tokens = tokens.expand(index.shape[0], -1, -1)
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


def put_back(tokens: Tensor, order: Tensor) -> Tensor:
    """Undo an order: token i of (B, N, D) returns to grid cell `order[:, i]`."""
    return take(tokens, order.argsort(dim=1))
