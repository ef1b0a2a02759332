"""Ground-truth masks inside boxes, image by image."""

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from heads.instances import BitPatch, InstanceMasks, Polygons, Target
from heads.mask_targets import fill, mask_targets, rasterize
from heads.roi_sampling import RegionSample

HEIGHT, WIDTH = 90, 130
EMPTY = torch.zeros(0, 4)


def both_kinds() -> tuple[InstanceMasks, InstanceMasks]:
    """The same three triangles as polygons and as bits."""
    corners = np.array([[20.0, 15.5], [100.0, 40.0], [45.5, 80.0]])
    rings = [corners, corners[:, ::-1] + 5, corners * 0.5 + 30]
    polygons = tuple(Polygons((ring,)) for ring in rings)
    bits = tuple(BitPatch.of(fill([ring], HEIGHT, WIDTH)) for ring in rings)
    return InstanceMasks(polygons, HEIGHT, WIDTH), InstanceMasks(bits, HEIGHT, WIDTH)


def regions(rois: list[list[float]], matched: list[int]) -> RegionSample:
    boxes = torch.tensor(rois).reshape(-1, 5)
    labels = torch.zeros(len(rois), dtype=torch.long)
    return RegionSample(boxes, labels, boxes[:, 1:], torch.tensor(matched, dtype=torch.long))


def test_each_image_gives_the_masks_of_its_own_instances_in_order():
    polygons, bits = both_kinds()
    targets = [Target(EMPTY, EMPTY[:, 0], masks) for masks in (polygons, None, bits)]
    first = torch.tensor([[10.0, 10, 90, 80], [30.0, 20, 70, 60]])
    third = torch.tensor([[0.0, 0, 130, 90]])
    sample = regions([[0, *first[0]], [0, *first[1]], [2, *third[0]]], [2, 0, 1])
    masks = mask_targets(sample, targets, 28)
    assert masks.shape == (3, 28, 28)
    assert torch.equal(masks[:2], rasterize(polygons, torch.tensor([2, 0]), first, 28))
    assert torch.equal(masks[2:], rasterize(bits, torch.tensor([1]), third, 28))
    assert masks.any(dim=(1, 2)).all()


def test_no_foreground_needs_no_masks():
    assert mask_targets(regions([], []), [Target(EMPTY, EMPTY[:, 0])], 28).shape == (0, 28, 28)


def test_an_object_without_mask_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"set head.mask=false"):
        mask_targets(regions([[0, 1, 2, 3, 4]], [0]), [Target(EMPTY, EMPTY[:, 0])], 28)


def test_bits_in_boxes_equal_roi_align_on_the_whole_mask() -> None:
    rng = np.random.default_rng(2)
    full = np.zeros((4, HEIGHT, WIDTH), dtype=bool)
    full[0, :40, :50] = True  # touches the upper left border of the image
    full[1, 50:, 100:] = True  # and the lower right one
    full[2, 30:60, 40:90] = rng.random((30, 50)) < 0.7
    full[3] = True
    masks = InstanceMasks(tuple(BitPatch.of(m) for m in full), HEIGHT, WIDTH)
    corners = np.sort(rng.uniform(0, 1, (200, 2, 2)), axis=1) * (WIDTH, HEIGHT)
    boxes = torch.from_numpy(corners.reshape(-1, 4)).float()
    index = torch.from_numpy(rng.integers(0, 4, 200))

    got = rasterize(masks, index, boxes, 28)

    rois = torch.cat((index[:, None].float(), boxes), dim=1)
    maps = torch.from_numpy(full)[:, None].float()
    expected = roi_align(maps, rois, 28, 1.0, 0, aligned=True)[:, 0] >= 0.5
    # the two differ in the rounding of coordinates, which a cell average of exactly 0.5 can feel
    assert (got != expected).float().mean() < 1e-4
    assert got.dtype == torch.bool
    assert got.shape == (200, 28, 28)


def test_one_image_may_mix_polygons_and_bits_and_keeps_their_order() -> None:
    polygons, bits = both_kinds()
    mixed = InstanceMasks((polygons.shapes[0], bits.shapes[1], polygons.shapes[2]), HEIGHT, WIDTH)
    boxes = torch.tensor([[10.0, 10, 120, 80]] * 4)
    index = torch.tensor([2, 1, 0, 1])
    grid = rasterize(mixed, index, boxes, 14)
    assert torch.equal(grid[[0, 2]], rasterize(polygons, index[[0, 2]], boxes[:2], 14))
    assert torch.equal(grid[[1, 3]], rasterize(bits, index[[1, 3]], boxes[:2], 14))


def test_no_boxes_give_no_masks() -> None:
    polygons, _ = both_kinds()
    grid = rasterize(polygons, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 28)
    assert grid.shape == (0, 28, 28)


def test_a_box_without_extent_gives_a_target_and_no_error() -> None:
    for masks in both_kinds():
        grid = rasterize(masks, torch.tensor([0]), torch.tensor([[5.0, 5, 5, 5]]), 28)
        assert grid.shape == (1, 28, 28)
