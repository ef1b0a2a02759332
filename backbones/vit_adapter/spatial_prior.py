"""Spatial prior module: a convolutional branch that sees the image at four scales.

Paper: ViT-Adapter (arXiv:2205.08534), section 3.3 and figure 4 (c).

Shapes, for images (B, 3, H, W) with sides divisible by 32, token width D:
    maps  (B, D, H/s, W/s) with s = 4, 8, 16, 32

Differs from the paper, as the released code (czczup/ViT-Adapter, fd64a51) does: the last stage
keeps its channels instead of doubling them. Differs from that code: the norm is chosen by name.
"""

import math

from torch import Tensor, nn

from backbones.options.vit_adapter import BatchNorm


def batch_norm(norm: BatchNorm, channels: int) -> nn.Module:
    """Batch norm of one process, or of all."""
    return nn.SyncBatchNorm(channels) if norm == "syncbn" else nn.BatchNorm2d(channels)


def conv_norm(channels_in: int, channels_out: int, stride: int, norm: BatchNorm) -> list[nn.Module]:
    """3x3 convolution, batch norm, ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return [conv, batch_norm(norm, channels_out), nn.ReLU(inplace=True)]


class SpatialPrior(nn.Module):
    """Image to four maps of token width; `conv_width` is the width of the stem."""

    def __init__(self, width: int, conv_width: int, norm: BatchNorm) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *conv_norm(3, conv_width, 2, norm),
            *conv_norm(conv_width, conv_width, 1, norm),
            *conv_norm(conv_width, conv_width, 1, norm),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*conv_norm(conv_width, 2 * conv_width, 2, norm))
        self.conv3 = nn.Sequential(*conv_norm(2 * conv_width, 4 * conv_width, 2, norm))
        self.conv4 = nn.Sequential(*conv_norm(4 * conv_width, 4 * conv_width, 2, norm))
        self.fc1 = nn.Conv2d(conv_width, width, 1)
        self.fc2 = nn.Conv2d(2 * conv_width, width, 1)
        self.fc3 = nn.Conv2d(4 * conv_width, width, 1)
        self.fc4 = nn.Conv2d(4 * conv_width, width, 1)
        self.apply(initialise_conv)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps of stride 4, 8, 16 and 32."""
        stride4 = self.stem(images)  # (B, 3, H, W) -> (B, E, H/4, W/4), E the stem's width
        stride8 = self.conv2(stride4)  # -> (B, 2E, H/8, W/8)
        stride16 = self.conv3(stride8)  # -> (B, 4E, H/16, W/16)
        stride32 = self.conv4(stride16)  # -> (B, 4E, H/32, W/32)
        return self.fc1(stride4), self.fc2(stride8), self.fc3(stride16), self.fc4(stride32)


def initialise_conv(module: nn.Module) -> None:
    """Normal weights with the variance 2 / fan-out, zero biases; other modules are left alone."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
