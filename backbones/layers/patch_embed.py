"""Patch embedding: one strided convolution from the image to a grid of tokens.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv:2010.11929), section 3.1.

Shapes: images (B, 3, H, W) to a grid (B, H/16, W/16, D); a remainder of pixels is left out.
"""

from torch import Tensor, nn

PATCH = 16


class PatchEmbed(nn.Module):
    """Every patch of 16 x 16 pixels to one token of `width` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens in channels-last order."""
        return self.proj(images).permute(0, 2, 3, 1)  # (B, 3, H, W) -> (B, h, w, D)
