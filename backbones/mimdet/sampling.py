"""Which tokens the encoder sees: an order of all tokens, of which the first ones are kept.

Paper: MIMDet (arXiv:2204.02964), section 2.1, tables 1 and 3. Each image has its own order; tokens
that only cover padding come last, so they are kept only where an image is too small to fill the
share. Random orders are the default; grid orders begin with a regular pattern, shown here for a
share of a half, a quarter, an eighth and three quarters (x is kept; the paper has the half only):

    x . x .    x . x .    x . . .    x x x x
    . x . x    . . . .    . . . .    x . x .
    x . x .    x . x .    . . x .    x x x x
    . x . x    . . . .    . . . .    x . x .

A new sampler is an entry of `SAMPLERS` and a word of `MIMDetOptions.sampling`.

Shapes: N tokens in raster order of an h x w grid, K of them kept; orders are (B, N) permutations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from backbones.options.transformer import PATCH

SPREAD_STEP, SPREAD_SPAN = 40503, 65536  # their ratio is the golden one: evenly spread multiples


def valid_tokens(sizes: Tensor, height: int, width: int, patch: int) -> Tensor:
    """Whether a token covers any pixel of an image of `sizes` (B, 2): (B, height * width) bool."""
    filled = (sizes + patch - 1) // patch  # (B, 2) in tokens
    rows = torch.arange(height, device=sizes.device)[None, :, None] < filled[:, 0, None, None]
    columns = torch.arange(width, device=sizes.device)[None, None, :] < filled[:, 1, None, None]
    return (rows & columns).flatten(1)


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, N, D) or (1, N, D) at `index` (B, n): (B, n, D)."""
    tokens = tokens.expand(index.shape[0], -1, -1)
    return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))


def put_back(tokens: Tensor, order: Tensor) -> Tensor:
    """Undo an order: token i of (B, N, D) returns to grid cell `order[:, i]`."""
    return take(tokens, order.argsort(dim=1))


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """The tokens to choose from, of which the share `ratio`, below 1, is kept.

    `features` (B, N, D) are those of the stem, without positions; `valid` (B, N) is False where a
    token only covers padding.
    """

    features: Tensor
    valid: Tensor
    height: int
    width: int
    ratio: float


@dataclass(frozen=True, slots=True)
class TokenSample:
    """The tokens that the encoder sees: the first `count` of `order`, or all where that is None.

    Where all are kept, they stay in raster order and nothing is gathered.
    """

    order: Tensor | None
    count: int

    def keep(self, tokens: Tensor) -> Tensor:
        """The kept ones of `tokens` (B, N, D): (B, K, D)."""
        return tokens if self.order is None else take(tokens, self.order[:, : self.count])

    def dropped(self, tokens: Tensor) -> Tensor | None:
        """The dropped ones of `tokens` (B, N, D): (B, N - K, D); None where all are kept."""
        return None if self.order is None else take(tokens, self.order[:, self.count :])

    def merge(self, kept: Tensor, others: Tensor) -> Tensor:
        """`kept` (B, K, E) and `others` (B, N - K, E) on their own cells: (B, N, E)."""
        tokens = torch.cat([kept, others.to(kept.dtype)], dim=1)
        return tokens if self.order is None else put_back(tokens, self.order)


@dataclass(frozen=True, slots=True)
class Sampler:
    """How tokens are chosen.

    `order` gives a permutation (B, N) per image, `count` how many tokens are kept of an image whose
    canvas has height x width of them, by (height, width, ratio), for ratios below 1.
    """

    order: Callable[[TokenGrid], Tensor]
    count: Callable[[int, int, float], int]

    def kept(self, height: int, width: int, ratio: float) -> int:
        """Tokens of a height x width grid that the encoder sees."""
        return height * width if ratio == 1 else self.count(height, width, ratio)

    def sample(
        self, tokens: Tensor, sizes: Tensor, height: int, width: int, ratio: float
    ) -> TokenSample:
        """The tokens of images of `sizes` (B, 2), in pixels, that the encoder sees."""
        count = self.kept(height, width, ratio)
        if count == height * width:
            return TokenSample(None, count)
        grid = TokenGrid(tokens, valid_tokens(sizes, height, width, PATCH), height, width, ratio)
        return TokenSample(self.order(grid), count)


def random_order(grid: TokenGrid) -> Tensor:
    """Uniformly random order, padding last."""
    noise = torch.rand(grid.valid.shape, device=grid.valid.device)
    return noise.masked_fill(~grid.valid, 2.0).argsort(dim=1)  # noise stays below 1


def share(height: int, width: int, ratio: float) -> int:
    """The floor of the share, padding counted; at least one."""
    return max(1, int(height * width * ratio))


GRID_PATTERNS: Final[Mapping[float, Callable[[Tensor, Tensor], Tensor]]] = {
    0.125: lambda y, x: (y % 2 == 0) & (x % 2 == 0) & ((y + x) % 4 == 0),
    0.25: lambda y, x: (y % 2 == 0) & (x % 2 == 0),
    0.5: lambda y, x: (y + x) % 2 == 0,
    0.75: lambda y, x: (y % 2 == 0) | (x % 2 == 0),
    1.0: lambda y, x: y + x >= 0,
}
"""Whether the cell in row y and column x is kept, by share; `GRID_RATIOS` of the options."""


def grid_pattern(height: int, width: int, ratio: float) -> Tensor:
    """Cells (height, width) that the pattern of `ratio`, one of `GRID_PATTERNS`, keeps."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    return GRID_PATTERNS[ratio](rows, columns).expand(height, width)


def grid_count(height: int, width: int, ratio: float) -> int:
    """Cells of the pattern."""
    return int(grid_pattern(height, width, ratio).sum())


def grid_order(grid: TokenGrid) -> Tensor:
    """The pattern's cells in raster order, then the others evenly spread, padding last.

    The others are kept only where an image is smaller than its batch's canvas, whose pattern sets
    the number of tokens for every image.
    """
    valid = grid.valid
    pattern = grid_pattern(grid.height, grid.width, grid.ratio).flatten().to(valid.device)
    cells = torch.arange(valid.shape[1], device=valid.device)
    span = max(valid.shape[1], SPREAD_SPAN)
    rank = torch.where(pattern, cells, span + cells * SPREAD_STEP % SPREAD_SPAN)
    return torch.where(valid, rank, 2 * span + cells).argsort(dim=1, stable=True)  # (B, N)


SAMPLERS: Final[Mapping[str, Sampler]] = {
    "random": Sampler(random_order, share),
    "grid": Sampler(grid_order, grid_count),
}
"""By the words of `MIMDetOptions.sampling`."""
