"""Normalisation of convolution maps, by the name that a recipe uses.

"ln" is the channel LayerNorm of ViTDet (Li et al., ECCV 2022, arXiv:2203.16527, section 3): every
position is normalised over its channels, eps 1e-6. "bn" is detectron2's: eps 1e-5, momentum 0.1.

Shapes: every module maps (B, C, H, W) to (B, C, H, W).
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.options.base import Norm


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of every position of a map.

    A subclass of `nn.LayerNorm`, so that rules about normalisation layers find it.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W) to maps of the same shape."""
        last = maps.permute(0, 2, 3, 1)  # (B, H, W, C)
        last = F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)  # (B, C, H, W)


def make_norm(name: Norm, channels: int) -> nn.Module | None:
    """The module behind `name`; None for "none".

    "gn" has 32 groups, or the greatest common divisor of 32 and `channels` where 32 does not fit.
    """
    if name == "bn":
        return nn.BatchNorm2d(channels)
    if name == "syncbn":
        return nn.SyncBatchNorm(channels)
    if name == "ln":
        return ChannelLayerNorm(channels)
    if name == "gn":
        return nn.GroupNorm(math.gcd(32, channels), channels)
    return None
