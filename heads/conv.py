"""The convolution of the box and mask heads: 3x3, norm, ReLU.

Differs from torchvision's `Conv2dNormActivation`: its parts have names, `conv` and `norm`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.norm import make_norm
from backbones.options.base import Norm


class ConvBlock(nn.Module):
    """3x3 convolution, norm, ReLU; the convolution has a bias exactly when there is no norm."""

    def __init__(self, in_channels: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=norm == "none")
        self.norm = make_norm(norm, channels)
        init_conv(self.conv)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (R, C_in, s, s) to (R, C, s, s)."""
        maps = self.conv(maps)  # (R, C_in, s, s) -> (R, C, s, s)
        if self.norm is not None:
            maps = self.norm(maps)
        return F.relu(maps)


def conv_stack(in_channels: int, channels: int, count: int, norm: Norm) -> nn.Sequential:
    """`count` blocks in a row, all `channels` wide."""
    widths = [in_channels, *[channels] * count]
    return nn.Sequential(*(ConvBlock(widths[i], channels, norm) for i in range(count)))


def init_conv(conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """He initialisation by fan-out, bias zero."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def init_normal(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Normal initialisation with `std`, bias zero."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
