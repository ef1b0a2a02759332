"""From four maps to the pyramid: the baseline's four scales, and the two necks.

Source: the released code of ViT-Adapter (czczup/ViT-Adapter, fd64a51). The scales are those of its
plain-ViT baseline, after Li et al. 2021 (arXiv:2111.11429), section 3. The neck is an FPN, or in
its `no_fpn` configurations a 1x1 convolution and ReLU on every map.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.deconv_scales import DeconvScales
from backbones.layers.fpn import FPN, ConvNorm
from backbones.options.base import Norm
from backbones.options.vit_adapter import NeckName

NORM_EPS = 1e-6


class DeconvPyramid(nn.Module):
    """LayerNorm per level, then one scale per level; an odd side loses its last cell at stride 32.

    For an adapter without extractors, whose maps are the ViT's own.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=NORM_EPS) for _ in range(4))
        self.scales = DeconvScales(width)

    def forward(self, outputs: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """Maps of stride 4, 8, 16 and 32 from the tokens after four blocks, first block first."""
        maps = [
            norm(tokens).transpose(1, 2).unflatten(2, grid)  # (B, N, D) -> (B, D, h, w)
            for norm, tokens in zip(self.norms, outputs, strict=True)
        ]
        return self.scales(maps)


class ConvNeck(nn.Module):
    """As many maps out as in, all of equal width."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(c, channels, 1, "none") for c in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps in the order of `maps`."""
        return [F.relu(lateral(x)) for lateral, x in zip(self.lateral, maps, strict=True)]


def make_neck(name: NeckName, width: int, channels: int, norm: Norm) -> nn.Module:
    """From four maps of `width` to the pyramid, with mmdetection's initial values.

    `norm` is the FPN's.
    """
    inputs = [width] * 4
    neck = ConvNeck(inputs, channels) if name == "conv" else FPN(inputs, channels, norm)
    for module in neck.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    return neck
