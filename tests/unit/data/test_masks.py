"""Masks in boxes, under transforms, and how little room they take."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torchvision.ops import roi_align

from mimdet_cli.data import rle
from mimdet_cli.data.mask_shapes import BitPatch, Polygons, Window, clip_ring, ring_area
from mimdet_cli.data.masks import InstanceMasks, fill

HEIGHT, WIDTH = 90, 130


def blob(rng: np.random.Generator) -> np.ndarray:
    """A ragged star-like ring inside the image."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radius = rng.uniform(10, 30, 12)
    centre = rng.uniform((35, 35), (WIDTH - 35, HEIGHT - 35))
    return centre + radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)


def both_kinds(seed: int) -> tuple[InstanceMasks, InstanceMasks]:
    """The same three instances as polygons and as bits."""
    rng = np.random.default_rng(seed)
    polygons = InstanceMasks(tuple(Polygons((blob(rng),)) for _ in range(3)), HEIGHT, WIDTH)
    bits = InstanceMasks(tuple(BitPatch.of(polygons.bits(i)) for i in range(3)), HEIGHT, WIDTH)
    return polygons, bits


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("step", ["flip_horizontal", "flip_vertical", "resize", "crop"])
def test_polygons_and_bits_stay_the_same_picture_under_every_transform(step: str) -> None:
    arguments = {"resize": (153, 247), "crop": (Window(20, 15, 70, 50),)}.get(step, ())
    for seed in range(5):
        polygons, bits = (getattr(m, step)(*arguments) for m in both_kinds(seed))
        for i in range(3):
            # one pixel of rounding along an outline of some hundred pixels
            assert iou(polygons.bits(i), bits.bits(i)) > 0.94


def test_bits_follow_numpy_exactly_in_flips_and_crops() -> None:
    _, masks = both_kinds(0)
    window = Window(30, 10, 60, 70)
    for i in range(3):
        full = masks.bits(i)
        assert (masks.flip_horizontal().bits(i) == full[:, ::-1]).all()
        assert (masks.flip_vertical().bits(i) == full[::-1]).all()
        assert (masks.crop(window).bits(i) == full[10:80, 30:90]).all()


def test_bits_are_resized_as_pil_resizes_the_whole_mask_with_nearest() -> None:
    _, masks = both_kinds(1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(n) for n in rng.integers(20, 300, 2))
        for i in range(3):
            whole = Image.fromarray(masks.bits(i).astype(np.uint8))
            expected = np.asarray(whole.resize((width, height), Image.Resampling.NEAREST))
            assert (masks.resize(height, width).bits(i) == expected).all()


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

    got = masks.rasterize(index, boxes, 28)

    rois = torch.cat((index[:, None].float(), boxes), dim=1)
    maps = torch.from_numpy(full)[:, None].float()
    expected = roi_align(maps, rois, 28, 1.0, 0, aligned=True)[:, 0] >= 0.5
    # the two differ in the rounding of coordinates, which a cell average of exactly 0.5 can feel
    assert (got != expected).float().mean() < 1e-4
    assert got.dtype == torch.bool
    assert got.shape == (200, 28, 28)


def test_one_image_may_mix_polygons_and_bits_and_keeps_their_order() -> None:
    polygons, bits = both_kinds(3)
    mixed = InstanceMasks((polygons.shapes[0], bits.shapes[1], polygons.shapes[2]), HEIGHT, WIDTH)
    boxes = torch.tensor([[10.0, 10, 120, 80]] * 4)
    index = torch.tensor([2, 1, 0, 1])
    grid = mixed.rasterize(index, boxes, 14)
    assert torch.equal(grid[[0, 2]], polygons.rasterize(index[[0, 2]], boxes[:2], 14))
    assert torch.equal(grid[[1, 3]], bits.rasterize(index[[1, 3]], boxes[:2], 14))


def test_no_boxes_give_no_masks() -> None:
    polygons, _ = both_kinds(0)
    grid = polygons.rasterize(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 28)
    assert grid.shape == (0, 28, 28)


def test_a_box_without_extent_gives_a_target_and_no_error() -> None:
    for masks in both_kinds(0):
        grid = masks.rasterize(torch.tensor([0]), torch.tensor([[5.0, 5, 5, 5]]), 28)
        assert grid.shape == (1, 28, 28)


def test_clipping_a_convex_ring_is_exact() -> None:
    ring = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)])
    clipped = clip_ring(ring, Window(4, -5, 20, 9))
    assert sorted(map(tuple, clipped)) == [(4, 0), (4, 4), (10, 0), (10, 4)]


def test_clipping_a_concave_ring_keeps_its_area() -> None:
    comb = np.array([(0, 0), (9, 0), (9, 9), (6, 9), (6, 3), (3, 3), (3, 9), (0, 9)], dtype=float)
    assert ring_area(clip_ring(comb, Window(0, 5, 9, 10))) == pytest.approx(2 * 3 * 4)


def test_shapes_outside_the_window_are_empty() -> None:
    far = Window(0, 0, 8, 8)
    square = np.array([(20.0, 20.0), (30.0, 20.0), (30.0, 30.0), (20.0, 30.0)])
    touching = square - 12.0  # shares one corner with the window: no area
    masks = InstanceMasks(
        (
            Polygons((square,)),
            Polygons((touching,)),
            BitPatch.of(fill([square], HEIGHT, WIDTH)),
            Polygons((square, square - 18.0)),
        ),
        HEIGHT,
        WIDTH,
    ).crop(far)
    assert masks.not_empty().tolist() == [False, False, False, True]


def test_a_bit_mask_crosses_to_another_process_in_few_bytes() -> None:
    mask = np.zeros((800, 1333), dtype=bool)
    mask[100:300, 200:500] = True
    masks = InstanceMasks((BitPatch.of(mask),), 800, 1333)
    assert len(pickle.dumps(masks)) < 200 * 300 / 8 + 1000


def test_run_lengths_agree_with_pycocotools_in_both_directions() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        height, width = (int(n) for n in rng.integers(1, 60, 2))
        mask = np.kron(rng.random((height, width)) < rng.random(), np.ones((3, 2))) > 0
        packed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        runs = rle.runs_of(packed["counts"], *mask.shape)
        assert (rle.decode(runs, *mask.shape) == mask).all()
        assert rle.area_of(runs) == mask.sum()
        assert (rle.encode(mask) == runs).all()
        assert (rle.runs_of(runs.tolist(), *mask.shape) == runs).all()
