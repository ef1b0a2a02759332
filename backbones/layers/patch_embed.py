"""Patch embedding: one strided convolution from the image to a grid of tokens.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv:2010.11929), section 3.1.

Shapes: images (B, 3, H, W) to a grid (B, H/16, W/16, D); a remainder of pixels is left out.
"""

from timm.layers.patch_embed import resample_patch_embed
from torch import Size, Tensor, nn

from backbones.options.transformer import PATCH

SMALL_PATCH = 14


class PatchEmbed(nn.Module):
    """Every patch of 16 x 16 pixels to one token of `width` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens in channels-last order."""
        return self.proj(images).permute(0, 2, 3, 1)  # (B, 3, H, W) -> (B, h, w, D)


def resize_patches(kernel: Tensor, shape: Size) -> Tensor:
    """A kernel (D, 3, 14, 14), as MAE's Huge has it, for patches of 16 x 16 pixels.

    A patch that is enlarged as the kernel is gives the same token (FlexiViT, arXiv:2212.08013,
    section 3.4).
    """
    if kernel.shape[2:] != (SMALL_PATCH, SMALL_PATCH):
        raise ValueError(f"patches are of {PATCH} pixels here; only those of 14 can be resized")
    return resample_patch_embed(kernel, list(shape[2:]))
