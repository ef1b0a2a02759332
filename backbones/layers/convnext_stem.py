"""Convolutional stem made of the first two stages of ConvNeXt-Large, in place of the plain one.

Papers: MIMDet (arXiv:2204.02964), table 5 and footnote 2; Liu et al., "A ConvNet for the 2020s",
CVPR 2022 (arXiv:2201.03545), sections 2 and 3.

Shapes, for an image of H x W pixels and token width D (ConvNeXt-Large's 192 and 384 for D = 768):
    maps[0]  (B, D/4, H/4, W/4)   three blocks
    maps[1]  (B, D/2, H/8, W/8)   three blocks
    tokens   (B, D, H/16, W/16)

MIMDet does not say how the second stage becomes tokens. Here it is ConvNeXt's own step to the third
stage, a layer norm and a 2x2 convolution of stride 2: at D = 768 its 384 -> 768 channels are
ConvNeXt-Large's, so a checkpoint fills the whole stem and nothing of it must start at random. With
1,181,184 of 6,010,560 parameters (two stages: 4,829,376; the plain stem: 4,079,712) it costs about
a third of the plain stem's last stage, which would bring the stem to 8,075,712.
"""

from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

DEPTH = 3
LAYER_SCALE = 1e-6


def initialise(module: nn.Module) -> None:
    """ConvNeXt's initial values: narrow normal kernels and matrices, zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def stage(channels_in: int, channels_out: int, stride: int) -> ConvNeXtStage:
    """ConvNeXt blocks, after a halving of the size where `stride` is 2."""
    return ConvNeXtStage(
        channels_in,
        channels_out,
        stride=stride,
        depth=DEPTH,
        ls_init_value=LAYER_SCALE,
        norm_layer=LayerNorm2d,
        norm_layer_cl=LayerNorm,
    )


class ConvNeXtStem(nn.Module):
    """Image to tokens by ConvNeXt; `width` is the token width and divides by 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = self.channels = (width // 4, width // 2)
        self.patch = nn.Sequential(nn.Conv2d(3, first, 4, stride=4), LayerNorm2d(first))
        self.stages = nn.ModuleList([stage(first, first, 1), stage(first, second, 2)])
        self.to_tokens = nn.Sequential(LayerNorm2d(second), nn.Conv2d(second, width, 2, stride=2))
        self.apply(initialise)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of stride 4 and 8, and the token map of stride 16."""
        stride4 = self.stages[0](self.patch(images))  # (B, 3, H, W) -> (B, D/4, H/4, W/4)
        stride8 = self.stages[1](stride4)  # -> (B, D/2, H/8, W/8)
        return stride4, stride8, self.to_tokens(stride8)  # -> (B, D, H/16, W/16)
