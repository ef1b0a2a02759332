"""The pyramid: strides 4 and 8 from the stem or from the ViT, stride 32 by pooling, then an FPN.

Papers: MIMDet (arXiv:2204.02964), section 2.2 and table 8; for the maps of the ViT, Li et al. 2021
(arXiv:2111.11429), section 3.

Shapes: two maps of strides 4 and 8, (B, C1, H/4, W/4) and (B, C2, H/8, W/8), and the decoded map
(B, E, H/16, W/16) become maps of equal width at strides 4, 8, 16 and 32.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.deconv_scales import upsample_2, upsample_4
from backbones.layers.fpn import FPN
from backbones.options.mimdet import MIMDetOptions


class FineMaps(nn.Module, ABC):
    """The maps of strides 4 and 8, whose numbers of channels are `channels`."""

    channels: tuple[int, int]

    @abstractmethod
    def forward(self, stem: Sequence[Tensor], within: Sequence[Tensor]) -> Sequence[Tensor]:
        """Both maps, from those of the stem and those within the ViT, (B, D, h, w)."""


class StemMaps(FineMaps):
    """Strides 4 and 8 are the stem's own maps, as the paper proposes."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, stem: Sequence[Tensor], within: Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of the stem."""
        return stem


class RaisedMaps(FineMaps):
    """Strides 4 and 8 are deconvolved from maps within the ViT (last row of table 8).

    The layers are two of `DeconvScales`, under the parameter names that MIMDet's checkpoints have.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = (width, width)
        self.to_stride4 = upsample_4(width)
        self.to_stride8 = upsample_2(width)

    def forward(self, stem: Sequence[Tensor], within: Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of the ViT, (B, D, h, w) -> (B, D, 4h, 4w) and (B, D, 2h, 2w)."""
        first, second = within
        return self.to_stride4(first), self.to_stride8(second)


def make_fine_maps(options: MIMDetOptions, stem: tuple[int, int]) -> FineMaps:
    """The source of strides 4 and 8 that `options.pyramid` names; `stem` has the stem's widths."""
    return RaisedMaps(options.width) if options.pyramid == "vit" else StemMaps(stem)


class PooledFPN(FPN):
    """An FPN whose coarsest input is the map before it, pooled to half the size."""

    def __init__(self, fine: tuple[int, int], coarse: int, options: MIMDetOptions) -> None:
        super().__init__([*fine, coarse, coarse], options.channels, options.norm)
        self.pool = F.max_pool2d if options.p5 == "max" else F.avg_pool2d

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps of strides 4 to 32 from maps of strides 4, 8 and 16."""
        return super().forward([*maps, self.pool(maps[-1], 2)])
