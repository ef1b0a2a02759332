import torch

from backbones.layers.patch_embed import PatchEmbed


def test_a_token_is_a_projection_of_its_own_patch():
    embed = PatchEmbed(8)
    images = torch.randn(2, 3, 32, 48)
    grid = embed(images)
    assert grid.shape == (2, 2, 3, 8)
    patch = images[1, :, 16:32, 32:48].flatten()
    wanted = embed.proj.weight.flatten(1) @ patch + embed.proj.bias
    assert torch.allclose(grid[1, 1, 2], wanted, atol=1e-5)  # sums of 768 terms in another order
