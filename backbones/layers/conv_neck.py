"""ViT-Adapter's two ways from four maps to the pyramid: an FPN, or every map on its own.

Source: the configurations of ViT-Adapter's code (czczup/ViT-Adapter, fd64a51), `no_fpn` those of
the second: a 1x1 convolution and ReLU.

Shapes: maps with any channels in, the same sizes with `channels` out.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.fpn import FPN, ConvNorm
from backbones.options.base import Norm
from backbones.options.vit_adapter import NeckName


class ConvNeck(nn.Module):
    """As many maps out as in, all of equal width."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(c, channels, 1, "none") for c in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps in the order of `maps`."""
        return [F.relu(lateral(x)) for lateral, x in zip(self.lateral, maps, strict=True)]


def mmdet_neck(name: NeckName, width: int, channels: int, norm: Norm) -> nn.Module:
    """From four maps of `width` to the pyramid, with mmdetection's initial values.

    `norm` is the FPN's.
    """
    inputs = [width] * 4
    neck = ConvNeck(inputs, channels) if name == "conv" else FPN(inputs, channels, norm)
    for module in neck.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    return neck
