"""Four scales from four maps of one scale: deconvolutions, nothing, or pooling.

Paper: Li et al., "Benchmarking Detection Transfer Learning with Vision Transformers"
(arXiv:2111.11429), section 3.

Shapes: four maps (B, D, h, w) of stride 16 become maps of width D at strides 4, 8, 16 and 32; an
odd side loses its last cell at stride 32.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn

GROUPS = 32


def upsample_2(width: int) -> nn.ConvTranspose2d:
    """Twice the size, the same channels: (B, D, h, w) -> (B, D, 2h, 2w)."""
    return nn.ConvTranspose2d(width, width, 2, stride=2)


def upsample_4(width: int) -> nn.Sequential:
    """Four times the size, the same channels: (B, D, h, w) -> (B, D, 4h, 4w)."""
    norm = nn.GroupNorm(math.gcd(GROUPS, width), width)
    return nn.Sequential(upsample_2(width), norm, nn.GELU(), upsample_2(width))


class DeconvScales(nn.Module):
    """Two deconvolutions around a group norm, one, none, and a 2 x 2 maximum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up4 = upsample_4(width)
        self.up2 = upsample_2(width)
        self.pool = nn.MaxPool2d(2)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of stride 4, 8, 16 and 32, in the order of `maps`."""
        first, second, third, fourth = maps
        return [self.up4(first), self.up2(second), third, self.pool(fourth)]
