"""Pixels: read as 8-bit RGB, upright as the annotations see them; resized and padded."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mimdet_cli.errors import DataError

ORIENTATION = 0x0112
Pixels = NDArray[np.uint8]


def read_image(
    path: Path, expected: tuple[int, int] | None = None, *, image_id: int | None = None
) -> Pixels:
    """The pixels (h, w, 3) of a file; grey, palette, CMYK and 16-bit files become 8-bit RGB.

    `expected` is the (height, width) that the annotation file states. A camera's rotation tag is
    applied only where that makes the sizes agree, because annotations may have been drawn on
    either. Without `expected` the image stands as a viewer shows it.
    """
    try:
        with Image.open(path) as file:
            image = _upright(file, expected)
            image.load()
            pixels = np.asarray(_to_rgb(image))
    except FileNotFoundError as error:
        raise DataError(
            "The image file does not exist.", where=str(path), fix="check the image folder."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(
            f"The image cannot be read: {_reason(error)}.",
            where=str(path),
            fix="replace the file, or remove it and its annotations from the data set.",
        ) from error
    if expected is not None and pixels.shape[:2] != expected:
        height, width = pixels.shape[:2]
        name = "The image" if image_id is None else f"Image {image_id}"
        raise DataError(
            f"{name} is {width} x {height} pixels, but its annotation file says "
            f"{expected[1]} x {expected[0]}.",
            where=str(path),
            fix="correct width and height in the annotation file, or replace the image.",
        )
    return pixels


def to_pixels(image: Image.Image) -> Pixels:
    """The pixels (h, w, 3) of an opened image, as `read_image` gives those of its file."""
    try:
        return np.asarray(_to_rgb(_upright(image, None)))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(
            f"The image cannot be read: {_reason(error)}.",
            where=repr(image),
            fix="give an image whose file is complete and still open.",
        ) from error


def resize_pixels(image: Pixels, height: int, width: int) -> Pixels:
    """The image (h, w, 3) at another size, as detectron2 does it: PIL's bilinear filter."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def padded(image: Pixels, size: int, grey: int) -> Pixels:
    """The image in the upper left corner of a grey square of `size`."""
    canvas = np.full((size, size, 3), grey, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


def _upright(image: Image.Image, expected: tuple[int, int] | None) -> Image.Image:
    turned = image.getexif().get(ORIENTATION, 1) != 1
    if not turned:
        return image
    as_stored = (image.height, image.width)
    if expected is not None and (as_stored == expected or as_stored[::-1] != expected):
        return image
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 bits per channel")
    if image.mode.startswith("I"):  # PIL would cut 16 bits off at 255, which whitens the image
        high = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(np.clip(high, 0, 255).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info:  # without this detour PIL warns about palettes
        image = image.convert("RGBA")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is damaged, or not in a known image format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".")
