"""Pyramid without an FPN: every map on its own, through a 1x1 convolution and ReLU.

Source: the configurations named `no_fpn` of ViT-Adapter's code (czczup/ViT-Adapter, fd64a51).

Shapes: maps with any channels in, the same sizes with `channels` out.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.fpn import ConvNorm


class ConvNeck(nn.Module):
    """As many maps out as in, all of equal width."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(c, channels, 1, "none") for c in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps in the order of `maps`."""
        return [F.relu(lateral(x)) for lateral, x in zip(self.lateral, maps, strict=True)]
