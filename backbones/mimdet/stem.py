"""Convolutional stems: from the image to tokens in strided stages, with the finer maps kept.

A stem replaces the patch embedding of the ViT and feeds the two finest levels of the pyramid.

Papers: MIMDet (arXiv:2204.02964), section 2.2, appendix A.1, and for ConvNeXt table 5 and
footnote 2; Liu et al., "A ConvNet for the 2020s", CVPR 2022 (arXiv:2201.03545), sections 2 and 3.

Shapes, for an image of H x W pixels and token width D:
    maps[0]  (B, D/4, H/4, W/4)
    maps[1]  (B, D/2, H/8, W/8)
    tokens   (B, D, H/16, W/16)

Differs from the paper: the "LayerNorm2d" of the plain stem is, in the released code, one mean and
variance per image over channels and space (a group norm of one group), so the padding of a batch
takes part in it.

The ConvNeXt stem is the first two stages of ConvNeXt-Large, whose widths for D = 768 are 192 and
384. MIMDet does not say how the second stage becomes tokens. Here it is ConvNeXt's own step to the
third stage, a layer norm and a 2x2 convolution of stride 2: at D = 768 its 384 -> 768 channels are
ConvNeXt-Large's, so a checkpoint fills the whole stem and nothing starts at random. With 1,181,184
of 6,010,560 parameters (two stages: 4,829,376; the plain stem: 4,079,712) it costs about a third of
the plain stem's last stage, which would make the stem 8,075,712.
"""

from itertools import pairwise

from timm.layers.norm import LayerNorm, LayerNorm2d
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

CONVNEXT_DEPTH = 3
CONVNEXT_LAYER_SCALE = 1e-6


def conv_stage(channels_in: int, channels_out: int) -> nn.Sequential:
    """Half the size: 3x3 convolution, one-group normalisation, GELU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, channels_out, eps=1e-6),
        nn.GELU(),
    )


class ConvStem(nn.Module):
    """The paper's stem, four strided stages; `width` is the token width and divisible by 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"the convolutional stem needs a width divisible by 8, not {width}")
        widths = [3, width // 8, width // 4, width // 2, width]
        self.stages = nn.ModuleList(conv_stage(a, b) for a, b in pairwise(widths))
        self.to_tokens = nn.Conv2d(width, width, 1)
        self.channels = (width // 4, width // 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of stride 4 and 8, and the token map of stride 16."""
        stride2 = self.stages[0](images)  # (B, 3, H, W) -> (B, D/8, H/2, W/2)
        stride4 = self.stages[1](stride2)  # -> (B, D/4, H/4, W/4)
        stride8 = self.stages[2](stride4)  # -> (B, D/2, H/8, W/8)
        stride16 = self.stages[3](stride8)  # -> (B, D, H/16, W/16)
        return stride4, stride8, self.to_tokens(stride16)


def convnext_stage(channels_in: int, channels_out: int, stride: int) -> ConvNeXtStage:
    """ConvNeXt blocks, after a halving of the size where `stride` is 2."""
    return ConvNeXtStage(
        channels_in,
        channels_out,
        stride=stride,
        depth=CONVNEXT_DEPTH,
        ls_init_value=CONVNEXT_LAYER_SCALE,
        norm_layer=LayerNorm2d,
        norm_layer_cl=LayerNorm,
    )


def initialise_convnext(module: nn.Module) -> None:
    """ConvNeXt's initial values: narrow normal kernels and matrices, zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


class ConvNeXtStem(nn.Module):
    """Two stages of ConvNeXt and a step to tokens; `width` is divisible by 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = self.channels = (width // 4, width // 2)
        self.patch = nn.Sequential(nn.Conv2d(3, first, 4, stride=4), LayerNorm2d(first))
        self.stages = nn.ModuleList(
            [convnext_stage(first, first, 1), convnext_stage(first, second, 2)]
        )
        self.to_tokens = nn.Sequential(LayerNorm2d(second), nn.Conv2d(second, width, 2, stride=2))
        self.apply(initialise_convnext)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of stride 4 and 8, and the token map of stride 16."""
        stride4 = self.stages[0](self.patch(images))  # (B, 3, H, W) -> (B, D/4, H/4, W/4)
        stride8 = self.stages[1](stride4)  # -> (B, D/2, H/8, W/8)
        return stride4, stride8, self.to_tokens(stride8)  # -> (B, D, H/16, W/16)


STEMS: dict[str, type[ConvStem | ConvNeXtStem]] = {"naive": ConvStem, "convnext": ConvNeXtStem}
"""By the words of `MIMDetOptions.stem`."""
