"""Which tokens the encoder sees: an order of all tokens, of which the first share is kept.

Paper: MIMDet (arXiv:2204.02964) section 3.1. Each image has its own order; tokens that only cover
padding come last, so they are kept only where an image is too small to fill the share.

Shapes: N tokens in raster order of an h x w grid; orders are (B, N) permutations.
"""

from typing import Protocol

import torch
from torch import Tensor


class Order(Protocol):
    """Chooses in which order tokens are kept."""

    def __call__(self, valid: Tensor) -> Tensor:
        """A permutation per image, (B, N) long, of `valid` (B, N): False marks padding tokens."""


def random_order(valid: Tensor) -> Tensor:
    """Uniformly random order, padding last."""
    noise = torch.rand(valid.shape, device=valid.device)
    return noise.masked_fill(~valid, 2.0).argsort(dim=1)  # drawn numbers stay below 1


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
