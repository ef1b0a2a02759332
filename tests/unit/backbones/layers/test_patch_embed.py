import pytest
import torch
from torch.nn import functional as F

from backbones.layers.patch_embed import PatchEmbed, resize_patches


def test_a_token_is_a_projection_of_its_own_patch():
    embed = PatchEmbed(8)
    images = torch.randn(2, 3, 32, 48)
    grid = embed(images)
    assert grid.shape == (2, 2, 3, 8)
    patch = images[1, :, 16:32, 32:48].flatten()
    wanted = embed.proj.weight.flatten(1) @ patch + embed.proj.bias
    assert torch.allclose(grid[1, 1, 2], wanted, atol=1e-5)  # sums of 768 terms in another order


def test_patches_of_14_pixels_become_16_and_give_the_same_token_of_an_enlarged_patch():
    torch.manual_seed(0)
    kernel, patch = torch.randn(8, 3, 14, 14), torch.randn(1, 3, 14, 14)
    large = F.interpolate(patch, (16, 16), mode="bicubic", antialias=True)
    before = (kernel * patch).sum(dim=(1, 2, 3))
    after = (resize_patches(kernel, torch.Size((8, 3, 16, 16))) * large).sum(dim=(1, 2, 3))
    # 588 products, and a pseudo-inverse in fp32
    torch.testing.assert_close(after, before, atol=1e-2, rtol=1e-3)


def test_patches_of_other_sizes_are_not_resized():
    with pytest.raises(ValueError, match="only those of 14"):
        resize_patches(torch.randn(8, 3, 32, 32), torch.Size((8, 3, 16, 16)))
