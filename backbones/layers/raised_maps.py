"""Strides 4 and 8 from two maps of a ViT's stride 16, by deconvolutions that keep the width.

Paper: Li et al., "Benchmarking Detection Transfer Learning with Vision Transformers", 2021
(arXiv:2111.11429), section 3; MIMDet (arXiv:2204.02964) takes it for the last row of table 8.

Shapes: two maps (B, D, h, w) become (B, D, 4h, 4w) and (B, D, 2h, 2w).
"""

from torch import Tensor, nn

from backbones.layers.norm import make_norm


class RaisedMaps(nn.Module):
    """Two deconvolutions for the first map, one for the second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        norm = make_norm("gn", width)
        assert norm is not None
        self.to_stride4 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            norm,
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.to_stride8 = nn.ConvTranspose2d(width, width, 2, stride=2)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of stride 4 and 8."""
        return self.to_stride4(first), self.to_stride8(second)
