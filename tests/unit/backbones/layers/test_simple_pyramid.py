import pytest
import torch
from torch import nn

from backbones.layers.norm import ChannelLayerNorm
from backbones.layers.simple_pyramid import SimplePyramid


@pytest.mark.parametrize("norm", ["ln", "bn", "syncbn", "gn", "none"])
def test_four_maps_of_equal_width_at_four_scales(norm):
    pyramid = SimplePyramid(32, 16, norm).eval()
    maps = pyramid(torch.randn(2, 32, 6, 10))
    assert [tuple(x.shape) for x in maps] == [
        (2, 16, 24, 40), (2, 16, 12, 20), (2, 16, 6, 10), (2, 16, 3, 5)
    ]  # fmt: skip


def test_a_base_pyramid_has_the_measured_number_of_parameters():
    assert sum(p.numel() for p in SimplePyramid(768, 256, "ln").parameters()) == 5_560_000


def test_the_coarsest_level_pools_before_it_projects():
    pyramid = SimplePyramid(32, 16, "none")
    last = torch.randn(1, 32, 4, 4)
    wanted = pyramid.output[3](pyramid.lateral[3](nn.functional.max_pool2d(last, 2)))
    assert torch.equal(pyramid(last)[3], wanted)


def test_the_norm_between_the_two_upsampling_steps_is_the_pyramids():
    assert isinstance(SimplePyramid(32, 16, "ln").scale[0][1], ChannelLayerNorm)
    assert isinstance(SimplePyramid(32, 16, "bn").scale[0][1], nn.BatchNorm2d)
    assert isinstance(SimplePyramid(32, 16, "none").scale[0][1], nn.Identity)
