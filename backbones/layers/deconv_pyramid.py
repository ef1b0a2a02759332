"""Four scales from four maps of one scale, as in the plain-ViT baseline of ViT-Adapter.

Paper: Li et al., "Benchmarking Detection Transfer Learning with Vision Transformers", 2021
(arXiv:2111.11429), section 3; norms as in ViT-Adapter's released code (czczup/ViT-Adapter,
fd64a51), whose tables call this detector "ViT".

Shapes: four token sequences (B, h * w, D) of an h x w grid of stride 16 become maps of width D at
strides 4, 8, 16 and 32; an odd side loses its last cell at stride 32.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.layers.deconv_scales import DeconvScales

NORM_EPS = 1e-6


class DeconvPyramid(nn.Module):
    """LayerNorm per level, then one scale per level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=NORM_EPS) for _ in range(4))
        self.scales = DeconvScales(width)

    def forward(self, outputs: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """Maps of stride 4, 8, 16 and 32 from the outputs of four blocks, first block first."""
        maps = [
            norm(tokens).transpose(1, 2).unflatten(2, grid)  # (B, N, D) -> (B, D, h, w)
            for norm, tokens in zip(self.norms, outputs, strict=True)
        ]
        return self.scales(maps)
