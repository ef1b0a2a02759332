"""From a decoded image to the network's input: flips, random crop or jitter, resizing.

MIMDet, section 3 (DETR's augmentation): flip; then, with a probability, resize and cut a random
window; then resize to a random short side with a longest side. Images are resized by PIL's bilinear
filter on 8-bit pixels, as detectron2 does: another filter costs released weights accuracy.

Large-scale jitter instead (Ghiasi et al., "Simple Copy-Paste", arXiv:2012.07177; used by ViTDet and
Li et al. 2021): resize to between a tenth and twice the canvas, then cut to the canvas. As in
detectron2, one random number places the window on both axes, and boxes are recomputed around what
the window leaves of the masks.
"""

import math

import numpy as np

from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.images import Pixels, padded, resize_pixels
from mimdet_cli.data.mask_transforms import Window
from mimdet_cli.recipe.schema import Crop, Data, Jitter

Pair = tuple[Pixels, Annotations]


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


def jitter_shape(height: int, width: int, side: float) -> tuple[int, int]:
    """Height and width that fit a square of `side`, the ratio kept; at least one pixel."""
    scale = min(side / height, side / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def jittered(
    image: Pixels, annotations: Annotations, jitter: Jitter, rng: np.random.Generator
) -> Pair:
    """The image (h, w, 3) at a random size, cut to at most `jitter.size` on each side."""
    old = (image.shape[0], image.shape[1])
    new = jitter_shape(*old, jitter.size * rng.uniform(*jitter.scale))
    image, annotations = resize_pixels(image, *new), annotations.resize(old, new)
    height, width = min(new[0], jitter.size), min(new[1], jitter.size)
    place = rng.uniform()
    y, x = round((new[0] - height) * place), round((new[1] - width) * place)
    annotations = annotations.crop(Window(x, y, width, height)).boxes_around_masks()
    return image[y : y + height, x : x + width], annotations


class TrainTransform:
    """Random flips, crop and size; all randomness comes from the generator given."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __call__(self, image: Pixels, annotations: Annotations, rng: np.random.Generator) -> Pair:
        """Image (h, w, 3) and annotations after all steps, without instances that have vanished."""
        if self.data.brightness:
            image = _brightened(image, self.data.brightness, rng)
        jitter = self.data.jitter
        if jitter is not None and self.data.pad is not None:
            # Li et al. 2021 pads before it flips, so that padding may lie on either side.
            image, annotations = jittered(image, annotations, jitter, rng)
            image = padded(image, jitter.size, self.data.pad)
            return _visible(*self._flip(image, annotations, rng))
        image, annotations = self._flip(image, annotations, rng)
        if jitter is not None:
            return _visible(*jittered(image, annotations, jitter, rng))
        crop = self.data.crop
        if crop is not None and rng.random() < crop.probability:
            image, annotations = _random_crop(image, annotations, crop, rng)
        short = int(rng.choice(self.data.short_side))
        image, annotations = _resize(image, annotations, short, self.data.max_side)
        if self.data.largest is not None:
            image, annotations = _cut(
                image, annotations, (self.data.largest, self.data.largest), rng
            )
        return _visible(image, annotations)

    def _flip(self, image: Pixels, annotations: Annotations, rng: np.random.Generator) -> Pair:
        if rng.random() < self.data.flip:
            image, annotations = image[:, ::-1], annotations.flip_horizontal(image.shape[1])
        if rng.random() < self.data.vertical_flip:
            image, annotations = image[::-1], annotations.flip_vertical(image.shape[0])
        return image, annotations


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


def _visible(image: Pixels, annotations: Annotations) -> Pair:
    return image, annotations.visible()


def _resize(image: Pixels, annotations: Annotations, short: int, longest: float) -> Pair:
    old = (image.shape[0], image.shape[1])
    new = resize_shape(*old, short, longest)
    return resize_pixels(image, *new), annotations.resize(old, new)


def _random_crop(
    image: Pixels, annotations: Annotations, crop: Crop, rng: np.random.Generator
) -> Pair:
    """Resize to a random short side without limit, then cut a window of random size and place."""
    image, annotations = _resize(image, annotations, int(rng.choice(crop.short_side)), math.inf)
    return _cut(image, annotations, crop.size, rng)


def _cut(
    image: Pixels, annotations: Annotations, limits: tuple[int, int], rng: np.random.Generator
) -> Pair:
    """A window at a random place, each side between `limits`, or all of a shorter image."""
    height, width = (_random_side(side, limits, rng) for side in image.shape[:2])
    y = int(rng.integers(image.shape[0] - height, endpoint=True))
    x = int(rng.integers(image.shape[1] - width, endpoint=True))
    window = Window(x, y, width, height)
    return image[y : y + height, x : x + width], annotations.crop(window)


def _random_side(side: int, limits: tuple[int, int], rng: np.random.Generator) -> int:
    low, high = sorted(min(side, limit) for limit in limits)
    return int(rng.integers(low, high, endpoint=True))
