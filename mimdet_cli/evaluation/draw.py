"""Draw predictions on their image: translucent masks, outlines, boxes and labels.

Small images are enlarged first, so that lines and text stay crisp. Every class has a fixed colour:
the first seven are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which colour-blind readers
can tell apart; further classes repeat them lighter, then darker, then from the start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.evaluation.results import Floats, ImageResult

SHORT_SIDE = 480
MASK_OPACITY = 0.42
FONT_SIZE = 14
CROWD = 15

Pixels = NDArray[np.uint8]
Bitmap = NDArray[np.bool_]
Area = tuple[int, int, int, int]
Colour = tuple[int, int, int]

OKABE_ITO: Final[tuple[Colour, ...]] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # green
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # purple
    (0, 114, 178),  # blue
    (240, 228, 66),  # yellow
)
WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 27)


@dataclass(frozen=True, slots=True)
class Label:
    """The text of a box, the class that its colours follow, and the box."""

    text: str
    label: int
    box: Area


def draw(
    image: Pixels,
    result: ImageResult,
    categories: Sequence[Category],
    threshold: float = 0.5,
    *,
    scores: bool = True,
    scale: float | None = None,
) -> Image.Image:
    """Draw the predictions with a score of at least `threshold` on an image (H, W, 3) RGB.

    `scale` resizes it; by default, small images are enlarged to a short side of 480 pixels. Without
    `scores`, a label is the class name alone, as for ground truth.
    """
    height, width = image.shape[:2]
    factor = max(1.0, SHORT_SIDE / min(height, width)) if scale is None else scale
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    canvas = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    shown = np.flatnonzero(result.scores >= threshold)
    areas = np.prod(result.boxes[shown, 2:] - result.boxes[shown, :2], axis=1)
    shown = shown[np.argsort(-areas, kind="stable")]  # small objects end up on top
    boxes = [_scaled(box, size[0] / width, size[1] / height, size) for box in result.boxes[shown]]
    if result.rles is not None:
        for index in shown:
            _mask(canvas, to_bitmap(result.rles[index]), colour_of(int(result.labels[index])))
    pen = ImageDraw.Draw(canvas)
    labels = []
    for index, box in zip(shown, boxes, strict=True):
        label = int(result.labels[index])
        pen.rectangle(box, outline=colour_of(label), width=2 if result.rles is None else 1)
        name = categories[label].name
        text = f"{name} {result.scores[index]:.2f}" if scores else name
        labels.append(Label(text, label, box))
    _write(pen, labels[::-1], size)
    return canvas


def font(size: float = FONT_SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's bundled font, so that drawings are the same everywhere."""
    return ImageFont.load_default(size)


def _scaled(box: Floats, across: float, down: float, size: tuple[int, int]) -> Area:
    x0, y0, x1, y1 = box.tolist()
    left, top = min(round(x0 * across), size[0] - 2), min(round(y0 * down), size[1] - 2)
    right, bottom = round(x1 * across) - 1, round(y1 * down) - 1
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _mask(canvas: Image.Image, bitmap: Bitmap, colour: Colour) -> None:
    """Overlay a mask (H, W) of the original image as a tint with an outline."""
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    if not rows.size:
        return
    top, bottom, left, right = rows[0] - 1, rows[-1] + 2, columns[0] - 1, columns[-1] + 2
    framed = np.pad(bitmap[top + 1 : bottom - 1, left + 1 : right - 1], 1)
    across, down = canvas.width / bitmap.shape[1], canvas.height / bitmap.shape[0]
    x0, y0 = round(left * across), round(top * down)
    size = (max(round(right * across) - x0, 1), max(round(bottom * down) - y0, 1))
    smooth = Image.fromarray(framed * np.uint8(255)).resize(size, Image.Resampling.BILINEAR)
    solid = smooth.point(lambda value: 255 if value >= 128 else 0)
    inner = solid.filter(ImageFilter.MinFilter(5 if min(size) > 24 else 3))
    edge = ImageChops.subtract(solid, inner)
    tint = inner.point(lambda value: round(value * MASK_OPACITY))
    canvas.paste(colour, (x0, y0), ImageChops.add(tint, edge))


def _write(pen: ImageDraw.ImageDraw, labels: Sequence[Label], size: tuple[int, int]) -> None:
    """Place labels without overlap; in crowded images, only those that fit on their box."""
    face = font()
    taken: list[Area] = []
    for label in labels:
        width, height = round(pen.textlength(label.text, font=face)) + 8, FONT_SIZE + 6
        if len(labels) > CROWD and width > label.box[2] - label.box[0]:
            continue
        places = list(_places(label.box, width, height, size))
        place = next((p for p in places if not any(_overlap(p, other) for other in taken)), None)
        if place is None:
            continue
        taken.append(place)
        colour = colour_of(label.label)
        pen.rounded_rectangle(place, radius=3, fill=colour)
        middle = (place[0] + 4, (place[1] + place[3]) / 2)
        pen.text(middle, label.text, fill=ink_on(colour), font=face, anchor="lm")


def _places(box: Area, width: int, height: int, size: tuple[int, int]) -> Iterator[Area]:
    """Label positions inside the canvas, best first: above, in, below and beside the box."""
    x0, y0, x1, y1 = box
    for x, y in (
        (x0, y0 - height),
        (x0, y0),
        (x0, y1),
        (x1 - width, y0 - height),
        (x1 - width, y1),
        (x0, y1 - height),
        (x1, y0),
        (x0 - width, y0),
    ):
        left, top = min(max(x, 0), max(size[0] - 1 - width, 0)), y
        if top >= 0 and top + height < size[1]:
            yield left, top, left + width, top + height


def _overlap(a: Area, b: Area) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def colour_of(label: int) -> Colour:
    """The colour of a class by its index."""
    turn, index = divmod(label, len(OKABE_ITO))
    base = OKABE_ITO[index]
    return (base, blend(base, WHITE, 0.45), blend(base, INK, 0.4))[turn % 3]


def blend(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a share of `other` mixed in."""
    r, g, b = (round((1 - share) * x + share * y) for x, y in zip(colour, other, strict=True))
    return r, g, b


def ink_on(colour: Colour) -> Colour:
    """Dark or white, whichever has the higher WCAG contrast on `colour`."""
    light = luminance(colour)
    dark = (light + 0.05) / (luminance(INK) + 0.05)
    return INK if dark >= 1.05 / (light + 0.05) else WHITE


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (IEC 61966-2-1)."""
    r, g, b = (
        c / 12.92 if (c := value / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for value in colour
    )
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
