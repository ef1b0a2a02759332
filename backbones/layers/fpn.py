"""Feature pyramid network: lateral 1x1 and output 3x3 convolutions, sums from coarse to fine.

Paper: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017 (arXiv:1612.03144).

Shapes: maps of strides 4, 8, 16, 32 with any channels in, the same sizes with `channels` out.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.norm import make_norm
from backbones.options.base import Norm


class ConvNorm(nn.Sequential):
    """Convolution that keeps the size; a bias exactly where no normalisation follows."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        layer = make_norm(norm, channels_out)
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, padding=kernel // 2, bias=layer is None
        )
        nn.init.kaiming_uniform_(self.conv.weight, a=1)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if layer is not None:
            self.norm = layer


class FPN(nn.Module):
    """Four maps in, four maps of equal width out, finest first."""

    def __init__(self, inputs: Sequence[int], channels: int, norm: Norm) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(c, channels, 1, norm) for c in inputs)
        self.output = nn.ModuleList(ConvNorm(channels, channels, 3, norm) for _ in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Pyramid maps in the order of `maps`."""
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for fine in range(len(merged) - 2, -1, -1):
            coarse = F.interpolate(merged[fine + 1], size=merged[fine].shape[-2:], mode="nearest")
            merged[fine] = merged[fine] + coarse
        return [output(x) for output, x in zip(self.output, merged, strict=True)]
