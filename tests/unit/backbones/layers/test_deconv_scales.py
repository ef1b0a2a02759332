import pytest
import torch

from backbones.layers.deconv_scales import DeconvScales


@pytest.mark.parametrize("width", [32, 24])
def test_four_maps_of_one_scale_become_four_scales(width):
    maps = DeconvScales(width)([torch.randn(2, width, 5, 7) for _ in range(4)])
    assert [tuple(x.shape[2:]) for x in maps] == [(20, 28), (10, 14), (5, 7), (2, 3)]
    assert {x.shape[1] for x in maps} == {width}


def test_the_third_map_passes_and_the_fourth_is_the_maximum_of_its_cells():
    maps = [torch.randn(1, 32, 4, 4) for _ in range(4)]
    scaled = DeconvScales(32)(maps)
    assert torch.equal(scaled[2], maps[2])
    assert torch.equal(scaled[3], maps[3].unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5)))
