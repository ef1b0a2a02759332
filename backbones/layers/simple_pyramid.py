"""Simple feature pyramid: four scales from the last map of a plain ViT, without lateral sums.

Paper: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022
(arXiv:2203.16527), section 3 and figure 2.

Shapes, for a map of stride 16 and width D:
    in      (B, D, H/16, W/16)
    scaled  (B, D/4, H/4, W/4), (B, D/2, H/8, W/8), (B, D, H/16, W/16), (B, D, H/32, W/32)
    out     (B, C, H/s, W/s) with s = 4, 8, 16, 32

Its users are `vitdet` and, through `mimdet_cli.plugin_api`, third parties' backbones.

Differs from detectron2 at 02b5c4e: without normalisation (`norm: none`) only the GELU is between
the two upsampling steps, where detectron2 fails. All layers keep PyTorch's initial values.
"""

from torch import Tensor, nn

from backbones.layers.fpn import ConvNorm
from backbones.layers.norm import make_norm
from backbones.options.base import Norm


def twice_as_large(width: int) -> nn.ConvTranspose2d:
    """Twice the size, half the channels: (B, D, h, w) -> (B, D/2, 2h, 2w)."""
    return nn.ConvTranspose2d(width, width // 2, 2, stride=2)


def four_times_as_large(width: int, norm: Norm) -> nn.Sequential:
    """Four times the size, a quarter of the channels: (B, D, h, w) -> (B, D/4, 4h, 4w)."""
    middle = make_norm(norm, width // 2) or nn.Identity()
    return nn.Sequential(twice_as_large(width), middle, nn.GELU(), twice_as_large(width // 2))


class SimplePyramid(nn.Module):
    """One map in, four maps of equal width out, finest first; `width` is divisible by 4."""

    def __init__(self, width: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.scale = nn.ModuleList(
            [
                four_times_as_large(width, norm),
                twice_as_large(width),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        widths = (width // 4, width // 2, width, width)
        self.lateral = nn.ModuleList(ConvNorm(c, channels, 1, norm) for c in widths)
        self.output = nn.ModuleList(ConvNorm(channels, channels, 3, norm) for _ in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()

    def forward(self, last: Tensor) -> list[Tensor]:
        """Pyramid maps of the map of stride 16."""
        layers = zip(self.scale, self.lateral, self.output, strict=True)
        return [output(lateral(scale(last))) for scale, lateral, output in layers]
