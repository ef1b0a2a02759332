"""Convolutional propagation: a bottleneck on a residual path that lets windows talk to another.

Paper: Li et al., ECCV 2022 (arXiv:2203.16527), section 3, "residual blocks"; ViT-Adapter
(github.com/czczup/ViT-Adapter, fd64a51) builds its "ViTDet" rows with it.

Shapes: a grid (B, h, w, D) in and out.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.norm import ChannelLayerNorm


class ConvResidual(nn.Module):
    """1x1, 3x3 and 1x1 convolutions at half the width; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = nn.Conv2d(width, half, 1, bias=False)
        self.norm1 = ChannelLayerNorm(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.norm2 = ChannelLayerNorm(half)
        self.conv3 = nn.Conv2d(half, width, 1, bias=False)
        self.norm3 = ChannelLayerNorm(width)
        for conv in (self.conv1, self.conv2, self.conv3):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.norm3.weight)

    def forward(self, grid: Tensor) -> Tensor:
        """The grid plus its convolutions."""
        maps = grid.permute(0, 3, 1, 2)  # (B, h, w, D) -> (B, D, h, w)
        maps = F.gelu(self.norm1(self.conv1(maps)))  # -> (B, D/2, h, w)
        maps = F.gelu(self.norm2(self.conv2(maps)))
        return grid + self.norm3(self.conv3(maps)).permute(0, 2, 3, 1)
