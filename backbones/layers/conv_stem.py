"""Convolutional stem: four strided stages from the image to tokens, every stride kept.

Paper: MIMDet (arXiv:2204.02964) section 3.2. It replaces the patch embedding of the ViT and feeds
the two finest levels of the pyramid.

Shapes, for an image of H x W pixels and token width D:
    maps[0]  (B, D/4, H/4, W/4)
    maps[1]  (B, D/2, H/8, W/8)
    tokens   (B, D, H/16, W/16)

Differs from the paper: its "LayerNorm2d" is, in the released code, one mean and variance per image
over channels and space (a group norm of one group), so the padding of a batch takes part in it.
"""

from itertools import pairwise

from torch import Tensor, nn


def stage(channels_in: int, channels_out: int) -> nn.Sequential:
    """Half the size: 3x3 convolution, one-group normalisation, GELU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(1, channels_out, eps=1e-6),
        nn.GELU(),
    )


class ConvStem(nn.Module):
    """Image to tokens in four stages; `width` is the token width and divides by 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 8:
            raise ValueError(f"the convolutional stem needs a width that divides by 8, not {width}")
        widths = [3, width // 8, width // 4, width // 2, width]
        self.stages = nn.ModuleList(stage(a, b) for a, b in pairwise(widths))
        self.to_tokens = nn.Conv2d(width, width, 1)
        self.channels = (width // 4, width // 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of stride 4 and 8, and the token map of stride 16."""
        stride2 = self.stages[0](images)  # (B, 3, H, W) -> (B, D/8, H/2, W/2)
        stride4 = self.stages[1](stride2)  # -> (B, D/4, H/4, W/4)
        stride8 = self.stages[2](stride4)  # -> (B, D/2, H/8, W/8)
        stride16 = self.stages[3](stride8)  # -> (B, D, H/16, W/16)
        return stride4, stride8, self.to_tokens(stride16)
