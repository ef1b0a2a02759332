"""Image, boxes and masks move together; sizes, windows and randomness as published."""

import numpy as np
import pytest
from PIL import Image

from heads.instances import BitPatch, InstanceMasks, Polygons
from heads.mask_targets import fill
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.images import resize_pixels
from mimdet_cli.data.mask_transforms import Window, bitmap
from mimdet_cli.data.transforms import EvalTransform, TrainTransform, resize_shape
from mimdet_cli.recipe.schema import Crop, Data

HEIGHT, WIDTH = 120, 180
SEEDS = range(12)


def scene(kind: str) -> tuple[np.ndarray, Annotations]:
    """Three grey hexagons of different values on black: the image is its own mask."""
    angle = np.arange(6) * np.pi / 3
    centres, radii = np.array([(50, 40), (120, 80), (150, 30)]), (25.0, 30.0, 12.0)
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rings, boxes = [], []
    for i, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        ring = centre + radius * np.stack((np.cos(angle), np.sin(angle)), axis=1)
        image[fill([ring], HEIGHT, WIDTH), i] = 255
        rings.append(ring)
        boxes.append([*ring.min(axis=0), *ring.max(axis=0)])
    shapes = tuple(
        Polygons((r,)) if kind == "polygons" else BitPatch.of(fill([r], HEIGHT, WIDTH))
        for r in rings
    )
    masks = InstanceMasks(shapes, HEIGHT, WIDTH)
    return image, Annotations(np.array(boxes), np.arange(3), masks)


def assert_together(image: np.ndarray, truth: Annotations) -> None:
    """Masks lie on the painted pixels, and boxes around the masks."""
    assert truth.masks is not None
    assert (truth.masks.height, truth.masks.width) == image.shape[:2]
    for k, label in enumerate(truth.labels):
        painted, drawn = image[..., label] > 127, bitmap(truth.masks, k)
        if painted.sum() > 300:  # a sliver at the window's edge is mostly outline
            # one pixel of rounding along the outline
            assert (painted & drawn).sum() / (painted | drawn).sum() > 0.93
            rows, columns = np.nonzero(drawn)
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            # a clipped box is larger than what its clipped hexagon fills, never smaller
            slack = 2.0
            x0, y0, x1, y1 = truth.boxes[k]
            assert x0 <= around[0] + slack
            assert y0 <= around[1] + slack
            assert x1 >= around[2] - slack
            assert y1 >= around[3] - slack


@pytest.mark.parametrize("kind", ["polygons", "bits"])
def test_boxes_polygons_and_bits_follow_the_pixels_through_everything(kind: str) -> None:
    data = Data(
        short_side=(100, 150, 210),
        max_side=400,
        flip=0.5,
        vertical_flip=0.5,
        crop=Crop(probability=0.5, short_side=(110, 160), size=(70, 140)),
    )
    for seed in SEEDS:
        image, truth = TrainTransform(data)(*scene(kind), np.random.default_rng(seed))
        assert_together(image, truth)


def test_both_flips_together_turn_the_image_by_half() -> None:
    data = Data(short_side=(HEIGHT,), flip=1.0, vertical_flip=1.0)
    image, truth = scene("bits")
    turned, moved = TrainTransform(data)(image, truth, np.random.default_rng(0))
    assert (turned == image[::-1, ::-1]).all()
    expected = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) - truth.boxes[:, [2, 3, 0, 1]]
    np.testing.assert_allclose(moved.boxes, expected)
    assert moved.masks is not None
    assert truth.masks is not None
    assert (bitmap(moved.masks, 0) == bitmap(truth.masks, 0)[::-1, ::-1]).all()


def test_the_same_generator_gives_the_same_sample() -> None:
    data = Data(crop=Crop())
    first, second = (
        TrainTransform(data)(*scene("polygons"), np.random.default_rng(4)) for _ in range(2)
    )
    assert (first[0] == second[0]).all()
    assert (first[1].boxes == second[1].boxes).all()


def test_every_short_side_is_drawn_and_no_other() -> None:
    sides = (60, 90, 120)
    transform = TrainTransform(Data(short_side=sides, flip=0.0))
    rng = np.random.default_rng(0)
    assert {min(transform(*scene("bits"), rng)[0].shape[:2]) for _ in range(40)} == set(sides)


def test_window_sides_lie_within_their_limits_and_within_the_image() -> None:
    crop = Crop(probability=1.0, short_side=(120,), size=(60, 150))
    transform = TrainTransform(Data(short_side=(10**4,), max_side=180, flip=0.0, crop=crop))
    rng = np.random.default_rng(0)
    ratios = [np.divide(*transform(*scene("bits"), rng)[0].shape[:2]) for _ in range(200)]
    assert min(ratios) >= 60 / 150 - 0.01
    assert max(ratios) <= 120 / 60 + 0.01
    assert len(set(ratios)) > 50  # height and width are drawn separately


def test_boxes_are_clipped_at_the_window_not_drawn_around_the_cropped_mask() -> None:
    _, truth = scene("polygons")
    cropped = truth.crop(Window(40, 0, 60, 30)).visible()
    # the hexagon around (50, 40) with radius 25 is cut through its middle
    np.testing.assert_allclose(cropped.boxes, [[0, 40 - 25 * np.sqrt(3) / 2, 35, 30]])
    assert cropped.labels.tolist() == [0]


def test_an_instance_whose_box_or_mask_is_gone_is_left_out() -> None:
    _, truth = scene("polygons")
    assert truth.masks is not None
    empty = InstanceMasks((Polygons(()), *truth.masks.shapes[1:]), HEIGHT, WIDTH)
    boxes = truth.boxes.copy()
    boxes[1, 2] = boxes[1, 0] + 1e-6
    seen = Annotations(boxes, truth.labels, empty).visible()
    assert seen.labels.tolist() == [2]
    assert seen.masks is not None
    assert len(seen.masks) == 1


def test_all_transforms_work_without_masks_and_without_objects() -> None:
    data = Data(vertical_flip=0.5, crop=Crop(probability=1.0))
    image, truth = scene("bits")
    nothing = Annotations(np.zeros((0, 4)), np.zeros(0, np.int64), InstanceMasks((), HEIGHT, WIDTH))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _, boxes_only = TrainTransform(data)(
            image, Annotations(truth.boxes, truth.labels, None), rng
        )
        assert boxes_only.masks is None
        after, none_left = TrainTransform(data)(image, nothing, rng)
        assert len(none_left) == 0
        assert none_left.masks is not None
        assert (none_left.masks.height, none_left.masks.width) == after.shape[:2]


def test_pixels_are_resized_by_pil_bilinear() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize((41, 33), Image.Resampling.BILINEAR)
    assert (resize_pixels(pixels, 33, 41) == np.asarray(expected)).all()


def test_evaluation_uses_one_size_and_the_longest_side() -> None:
    transform = EvalTransform(Data(eval_short_side=60, eval_max_side=80))
    assert transform(np.zeros((120, 130, 3), np.uint8)).shape == (60, 65, 3)
    assert transform(np.zeros((120, 480, 3), np.uint8)).shape == (20, 80, 3)


def test_an_extreme_aspect_ratio_keeps_a_pixel() -> None:
    assert resize_shape(1, 5000, 800, 1333) == (1, 1333)


def test_brightness_scales_all_pixels_by_one_factor_within_its_limits():
    image = np.full((8, 8, 3), 100, np.uint8)
    nothing = Annotations(np.zeros((0, 4)), np.zeros(0, np.int64), None)
    transform = TrainTransform(Data(short_side=(8,), max_side=8, brightness=1.0, flip=0.0))
    seen = set()
    for seed in range(40):
        out, _ = transform(image, nothing, np.random.default_rng(seed))
        assert len(np.unique(out)) == 1
        seen.add(int(out[0, 0, 0]))
    assert 50 <= min(seen) < 70
    assert 150 < max(seen) <= 200
