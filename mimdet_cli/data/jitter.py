"""Large-scale jitter: draw a size between a tenth and twice the canvas, then cut to the canvas.

Paper: Ghiasi et al., "Simple Copy-Paste" (arXiv:2012.07177), used by ViTDet and Li et al. 2021.
As in detectron2, one random number places the window on both axes, and boxes are drawn anew around
the masks that the window leaves.
"""

import numpy as np
from numpy.typing import NDArray

from mimdet_cli.data.mask_shapes import Window
from mimdet_cli.data.pixels import resize_pixels
from mimdet_cli.data.truth import Truth
from mimdet_cli.recipe.schema import Jitter

Pixels = NDArray[np.uint8]


def jitter_shape(height: int, width: int, side: float) -> tuple[int, int]:
    """Height and width that fit a square of `side`, the ratio kept; at least one pixel."""
    scale = min(side / height, side / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def jittered(
    image: Pixels, truth: Truth, jitter: Jitter, rng: np.random.Generator
) -> tuple[Pixels, Truth]:
    """Image (h, w, 3) and truth at a drawn size, cut to at most `jitter.size` on each side."""
    old = (image.shape[0], image.shape[1])
    new = jitter_shape(*old, jitter.size * rng.uniform(*jitter.scale))
    image, truth = resize_pixels(image, *new), truth.resize(old, new)
    height, width = min(new[0], jitter.size), min(new[1], jitter.size)
    place = rng.uniform()
    y, x = round((new[0] - height) * place), round((new[1] - width) * place)
    truth = truth.crop(Window(x, y, width, height)).around_masks()
    return image[y : y + height, x : x + width], truth


def padded(image: Pixels, size: int, grey: int) -> Pixels:
    """The image in the upper left corner of a grey square of `size`."""
    canvas = np.full((size, size, 3), grey, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas
