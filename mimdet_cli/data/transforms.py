"""From a decoded image to the network's input: flips, random crop, multi-scale resizing.

MIMDet section 4 (DETR's augmentation): flip; then, with a probability, resize and cut a random
window; then resize to a drawn short side with a longest side. Images are resized by PIL's bilinear
filter on 8-bit pixels, as detectron2 does: another filter costs released weights accuracy.
"""

import math

import numpy as np

from mimdet_cli.data.jitter import jittered, padded
from mimdet_cli.data.mask_shapes import Window
from mimdet_cli.data.pixels import Pixels, resize_pixels
from mimdet_cli.data.truth import Truth
from mimdet_cli.recipe.schema import Crop, Data

Pair = tuple[Pixels, Truth]


def resize_shape(height: int, width: int, short: int, longest: float = math.inf) -> tuple[int, int]:
    """Height and width with the short side at `short`, unless the other would pass `longest`."""
    scale = short / min(height, width)
    other = scale * max(height, width)
    sides = (float(short), other) if height < width else (other, float(short))
    if max(sides) > longest:
        shrink = longest / max(sides)
        sides = (sides[0] * shrink, sides[1] * shrink)
    # an extreme aspect ratio may not lose its short side altogether
    return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


class TrainTransform:
    """Random flips, crop and size; all that is random comes from the generator given."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __call__(self, image: Pixels, truth: Truth, rng: np.random.Generator) -> Pair:
        """Image (h, w, 3) and truth after all steps; instances that are gone are left out."""
        if self.data.brightness:
            image = _brightened(image, self.data.brightness, rng)
        jitter = self.data.jitter
        if jitter is not None and self.data.pad is not None:
            # Li et al. 2021 pads before it flips, so that padding may lie on either side.
            image, truth = jittered(image, truth, jitter, rng)
            image = padded(image, jitter.size, self.data.pad)
            return _visible(*self._flip(image, truth, rng))
        image, truth = self._flip(image, truth, rng)
        if jitter is not None:
            return _visible(*jittered(image, truth, jitter, rng))
        crop = self.data.crop
        if crop is not None and rng.random() < crop.probability:
            image, truth = _random_crop(image, truth, crop, rng)
        short = int(rng.choice(self.data.short_side))
        image, truth = _resize(image, truth, short, self.data.max_side)
        if self.data.largest is not None:
            image, truth = _cut(image, truth, (self.data.largest, self.data.largest), rng)
        return _visible(image, truth)

    def _flip(self, image: Pixels, truth: Truth, rng: np.random.Generator) -> Pair:
        if rng.random() < self.data.flip:
            image, truth = image[:, ::-1], truth.flip_horizontal(image.shape[1])
        if rng.random() < self.data.vertical_flip:
            image, truth = image[::-1], truth.flip_vertical(image.shape[0])
        return image, truth


class EvalTransform:
    """One fixed size: the same for evaluation and for prediction."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The size (height, width) that an image of height x width gets."""
        return resize_shape(height, width, self.data.eval_short_side, self.data.eval_max_side)

    def __call__(self, image: Pixels) -> Pixels:
        """The resized image (h, w, 3)."""
        return resize_pixels(image, *self.shape(*image.shape[:2]))


def _brightened(image: Pixels, most: float, rng: np.random.Generator) -> Pixels:
    """All pixels times one factor, as likely darker as brighter, through a table of 256 values."""
    factor = (1 + most) ** rng.uniform(-1, 1)
    table = np.clip(np.arange(256) * factor + 0.5, 0, 255).astype(np.uint8)
    return table[image]


def _visible(image: Pixels, truth: Truth) -> Pair:
    return image, truth.visible()


def _resize(image: Pixels, truth: Truth, short: int, longest: float) -> Pair:
    old = (image.shape[0], image.shape[1])
    new = resize_shape(*old, short, longest)
    return resize_pixels(image, *new), truth.resize(old, new)


def _random_crop(image: Pixels, truth: Truth, crop: Crop, rng: np.random.Generator) -> Pair:
    """Resize to a drawn short side without limit, then cut a window of drawn size and place."""
    image, truth = _resize(image, truth, int(rng.choice(crop.short_side)), math.inf)
    return _cut(image, truth, crop.size, rng)


def _cut(image: Pixels, truth: Truth, limits: tuple[int, int], rng: np.random.Generator) -> Pair:
    """A window at a random place, each side drawn between `limits` or all of a shorter image."""
    height, width = (_draw_side(side, limits, rng) for side in image.shape[:2])
    y = int(rng.integers(image.shape[0] - height, endpoint=True))
    x = int(rng.integers(image.shape[1] - width, endpoint=True))
    window = Window(x, y, width, height)
    return image[y : y + height, x : x + width], truth.crop(window)


def _draw_side(side: int, limits: tuple[int, int], rng: np.random.Generator) -> int:
    low, high = sorted(min(side, limit) for limit in limits)
    return int(rng.integers(low, high, endpoint=True))
