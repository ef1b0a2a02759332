"""Plain ViT of ViT-Adapter's rows "ViTDet": residual convolutions, and a pyramid of the last map.

Papers: ViT-Adapter (arXiv:2205.08534), table 1, rows "ViTDet" (github.com/czczup/ViT-Adapter,
fd64a51); Li et al., ECCV 2022 (arXiv:2203.16527), section 3, "residual blocks". It is not
detectron2's ViTDet, which is the backbone `vitdet`.

Shapes are those of `plain`; a convolution takes and gives a grid (B, h, w, D).

Differs from upstream, which ships no configuration of these rows: four convolutions, one after each
quarter, give the published parameter counts.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.block import apply_block
from backbones.layers.norm import ChannelLayerNorm
from backbones.options.transformer import chosen_blocks
from backbones.options.vit_fpn import ViTFPNOptions
from backbones.vit_fpn.vit_baseline import ViTBaseline


class ConvResidual(nn.Module):
    """A bottleneck that lets windows exchange information: 1x1, 3x3, 1x1, at half the width.

    It starts as the identity.
    """

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


class ViTDetBaseline(ViTBaseline, form="conv"):
    """All levels read the last block; some blocks are followed by a residual convolution."""

    def __init__(self, options: ViTFPNOptions) -> None:
        super().__init__(options)
        chosen = chosen_blocks(options.conv_blocks, options.depth)
        self.convs = nn.ModuleDict({str(i): ConvResidual(options.width) for i in sorted(chosen)})

    def tokens_of(self, images: Tensor) -> list[Tensor]:
        """The grid (B, h, w, D) after the last block, four times."""
        grid = self.embed(images)
        recompute = self.options.checkpoint_activations
        for i, block in enumerate(self.blocks):
            grid = apply_block(block, grid, recompute=recompute)
            if str(i) in self.convs:
                grid = apply_block(self.convs[str(i)], grid, recompute=recompute)
        return 4 * [grid]
