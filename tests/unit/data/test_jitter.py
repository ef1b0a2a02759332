"""Large-scale jitter: sizes, windows, boxes around what is left, and grey canvases."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from heads.instances import InstanceMasks, Polygons
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.images import padded
from mimdet_cli.data.mask_transforms import Window
from mimdet_cli.data.transforms import TrainTransform, jitter_shape, jittered
from mimdet_cli.recipe.schema import Data, Jitter

GOLDEN = Path(
    os.environ.get("MIMDET_GOLDEN", Path(__file__).resolve().parents[4] / "shared/golden")
)


def square(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def scene(height=100, width=200):
    image = np.zeros((height, width, 3), np.uint8)
    image[40:60, 80:120] = 255
    masks = InstanceMasks((Polygons((square(80, 40, 120, 60),)),), height, width)
    return image, Annotations(np.array([[80.0, 40, 120, 60]]), np.array([0]), masks)


def test_sizes_equal_detectron2s_resize_scale():
    if not GOLDEN.is_dir():
        pytest.skip("the whole golden set is not here; MIMDET_GOLDEN names its folder")
    cases = json.loads((GOLDEN / "mimdet_vitdet/resize_shapes.json").read_text())["resize_scale"]
    assert len(cases) == 200
    for height, width, scale, new_height, new_width in cases:
        assert jitter_shape(height, width, 1024 * scale) == (new_height, new_width)


def test_the_window_never_passes_the_canvas_and_boxes_stay_on_the_object():
    seen = set()
    for seed in range(60):
        image, truth = scene()
        jitter = Jitter(size=160)
        image, truth = jittered(image, truth, jitter, np.random.default_rng(seed))
        truth = truth.visible()
        assert max(image.shape[:2]) <= 160
        seen.add(image.shape[:2])
        for box in truth.boxes:
            x0, y0, x1, y1 = np.round(box).astype(int)
            inside = image[max(0, y0) : y1, max(0, x0) : x1]
            if inside.size > 300:
                assert inside.mean() > 180
    assert len(seen) > 20


def test_boxes_are_recomputed_around_what_the_window_leaves_of_a_mask():
    triangle = np.array([[0.0, 0], [100, 0], [0, 100]])
    masks = InstanceMasks((Polygons((triangle,)),), 100, 100)
    truth = Annotations(np.array([[0.0, 0, 100, 100]]), np.array([0]), masks)
    cropped = truth.crop(Window(50, 0, 50, 100))
    assert cropped.boxes.tolist() == [[0, 0, 50, 100]]
    assert cropped.boxes_around_masks().boxes.tolist() == [[0, 0, 50, 50]]


def test_boxes_without_masks_are_clipped_only():
    truth = Annotations(np.array([[0.0, 0, 10, 10]]), np.array([0]), None)
    assert truth.boxes_around_masks() is truth


def test_a_grey_canvas_is_filled_before_the_flip():
    data = Data(jitter=Jitter(scale=(0.5, 0.5), size=128), pad=128, flip=1.0)
    image, truth = scene()
    out, _ = TrainTransform(data)(image, truth, np.random.default_rng(0))
    assert out.shape == (128, 128, 3)
    assert (out[:, 0] == 128).all()  # the padding at the right lies left after the flip
    assert padded(image, 256, 7)[-1, -1].tolist() == [7, 7, 7]


def test_a_resized_image_is_cut_to_the_largest_side_allowed():
    data = Data(short_side=(100,), max_side=1000, largest=120, flip=0.0)
    places = set()
    for seed in range(20):
        image, truth = scene()
        out, _ = TrainTransform(data)(image, truth, np.random.default_rng(seed))
        assert out.shape == (100, 120, 3)
        places.add(int(out[:, :, 0].any(axis=0).argmax()))
    assert len(places) > 5
