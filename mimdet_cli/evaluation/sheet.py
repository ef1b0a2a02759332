"""A contact sheet of predictions next to the ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from mimdet_cli.data.annotations import Category
from mimdet_cli.evaluation.draw import WHITE, Pixels, draw, font
from mimdet_cli.evaluation.results import ImageResult

CELL: Final = 400
GAP: Final = 12
HEADING: Final = 34
CAPTION: Final = 24
TEXT: Final = (39, 39, 42)
MUTED: Final = (113, 113, 122)


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One image (H, W, 3) RGB with its ground truth and its predictions."""

    title: str
    image: Pixels
    truth: ImageResult
    predictions: ImageResult


def sheet(
    rows: Sequence[SheetRow], categories: Sequence[Category], threshold: float = 0.5
) -> Image.Image:
    """Draw all rows, one pair of pictures per line; two pairs if there are more than three rows."""
    pairs = 2 if len(rows) > 3 else 1
    lines = [rows[first : first + pairs] for first in range(0, len(rows), pairs)]
    pictures = [[_pair(row, categories, threshold) for row in line] for line in lines]
    heights = [max(picture.height for pair in line for picture in pair) for line in pictures]
    pair_width = 2 * CELL + GAP
    width = 2 * GAP + pairs * pair_width + (pairs - 1) * 3 * GAP
    height = HEADING + sum(heights) + len(lines) * (CAPTION + GAP) + GAP
    page = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(page)
    starts = [GAP + column * (pair_width + 3 * GAP) for column in range(pairs)]
    for start in starts:
        for x, heading in ((start, "ground truth"), (start + CELL + GAP, "predictions")):
            pen.text((x, HEADING / 2 + 4), heading, fill=TEXT, font=font(18), anchor="lm")
    top = HEADING
    for line, pairs_of_line, line_height in zip(lines, pictures, heights, strict=True):
        for start, row, pair in zip(starts, line, pairs_of_line, strict=False):
            pen.text((start, top + CAPTION / 2), row.title, fill=MUTED, font=font(13), anchor="lm")
            for x, picture in zip((start, start + CELL + GAP), pair, strict=True):
                page.paste(picture, (x, top + CAPTION))
        top += CAPTION + line_height + GAP
    return page


def _pair(
    row: SheetRow, categories: Sequence[Category], threshold: float
) -> tuple[Image.Image, Image.Image]:
    """Draw ground truth and predictions at cell size."""
    scale = CELL / max(row.image.shape[:2])
    return (
        draw(row.image, row.truth, categories, 0.0, scores=False, scale=scale),
        draw(row.image, row.predictions, categories, threshold, scale=scale),
    )
