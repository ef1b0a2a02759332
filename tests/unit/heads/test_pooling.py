import pytest
import torch

from heads.pooling import level_of, pool_regions, to_rois


@pytest.mark.parametrize(
    ("side", "level"), [(1, 2), (111.9, 2), (112, 3), (223, 3), (224, 4), (448, 5), (5000, 5)]
)
def test_level_doubles_its_side_from_224_pixels_on_level_four(side, level):
    boxes = torch.tensor([[10.0, 10.0, 10 + side, 10 + side]])
    assert level_of(boxes, 2, 5).item() == level


def test_a_box_without_area_goes_to_the_lowest_level():
    assert level_of(torch.zeros(1, 4), 2, 5).item() == 2


def test_regions_are_read_half_a_pixel_aligned():
    # A ramp read over whole cells gives the cell centres: pixel i has its centre at i + 0.5.
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    rois = torch.tensor([[0.0, 8.0, 8.0, 24.0, 24.0]])  # cells 2..5 at stride 4
    pooled = pool_regions([ramp], [4], rois, 4)
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([2.0, 3.0, 4.0, 5.0]))


def test_every_cell_of_a_large_region_is_read():
    features = torch.zeros(1, 1, 8, 8)
    features[0, 0, 3, 3] = 64
    pooled = pool_regions([features], [4], torch.tensor([[0.0, 0.0, 0.0, 32.0, 32.0]]), 1)
    assert pooled.item() == pytest.approx(1.0)


def test_regions_keep_their_order_across_levels_and_images():
    maps = [torch.full((2, 1, 64 // s, 64 // s), float(s)) for s in (1, 2, 4, 8)]
    for level in maps:
        level[1] += 100
    small, large = [0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 230.0, 230.0]
    rois = to_rois([torch.tensor([large, small]), torch.tensor([small, large])])
    pooled = pool_regions(maps, [4, 8, 16, 32], rois, 7)
    assert pooled.shape == (4, 1, 7, 7)
    assert pooled[:, 0, 0, 0].tolist() == [4, 1, 101, 104]


def test_no_regions_give_an_empty_and_connected_result():
    maps = [torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 4, 4, requires_grad=True)]
    pooled = pool_regions(maps, [4, 8], torch.zeros(0, 5), 7)
    pooled.sum().backward()
    assert pooled.shape == (0, 3, 7, 7)
    assert all(m.grad is not None for m in maps)


def test_rois_carry_the_index_of_their_image():
    rois = to_rois([torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4)])
    assert rois[:, 0].tolist() == [0, 0, 2]
