"""Resize pixels as detectron2 does: PIL's bilinear filter on 8-bit values."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def resize_pixels(image: Pixels, height: int, width: int) -> Pixels:
    """The image (h, w, 3) at another size."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
