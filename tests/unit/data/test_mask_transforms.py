"""Masks under transforms, and how little room they take."""

import pickle

import numpy as np
import pytest
from PIL import Image

from heads.instances import BitPatch, InstanceMasks, Polygons
from heads.mask_targets import fill
from mimdet_cli.data import mask_transforms
from mimdet_cli.data.mask_transforms import (
    Window,
    bitmap,
    clip_ring,
    crop,
    flip_horizontal,
    flip_vertical,
    resize,
    ring_area,
    visible,
)

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
    bits = InstanceMasks(tuple(BitPatch.of(bitmap(polygons, i)) for i in range(3)), HEIGHT, WIDTH)
    return polygons, bits


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("step", ["flip_horizontal", "flip_vertical", "resize", "crop"])
def test_polygons_and_bits_stay_the_same_picture_under_every_transform(step: str) -> None:
    arguments = {"resize": (153, 247), "crop": (Window(20, 15, 70, 50),)}.get(step, ())
    for seed in range(5):
        polygons, bits = (getattr(mask_transforms, step)(m, *arguments) for m in both_kinds(seed))
        for i in range(3):
            # one pixel of rounding along an outline of some hundred pixels
            assert iou(bitmap(polygons, i), bitmap(bits, i)) > 0.94


def test_bits_follow_numpy_exactly_in_flips_and_crops() -> None:
    _, masks = both_kinds(0)
    window = Window(30, 10, 60, 70)
    for i in range(3):
        full = bitmap(masks, i)
        assert (bitmap(flip_horizontal(masks), i) == full[:, ::-1]).all()
        assert (bitmap(flip_vertical(masks), i) == full[::-1]).all()
        assert (bitmap(crop(masks, window), i) == full[10:80, 30:90]).all()


def test_bits_are_resized_as_pil_resizes_the_whole_mask_with_nearest() -> None:
    _, masks = both_kinds(1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(n) for n in rng.integers(20, 300, 2))
        for i in range(3):
            whole = Image.fromarray(bitmap(masks, i).astype(np.uint8))
            expected = np.asarray(whole.resize((width, height), Image.Resampling.NEAREST))
            assert (bitmap(resize(masks, height, width), i) == expected).all()


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
    )
    assert visible(crop(masks, far)).tolist() == [False, False, False, True]


def test_a_bit_mask_crosses_to_another_process_in_few_bytes() -> None:
    mask = np.zeros((800, 1333), dtype=bool)
    mask[100:300, 200:500] = True
    masks = InstanceMasks((BitPatch.of(mask),), 800, 1333)
    assert len(pickle.dumps(masks)) < 200 * 300 / 8 + 1000
