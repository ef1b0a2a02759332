"""The detections in one image together with the image: filter, draw, display, export."""

import base64
import html
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.draw import Pixels, draw
from mimdet_cli.evaluation.results import Floats, ImageResult, Ints, to_coco
from mimdet_cli.words import counted

ROWS = 20


@dataclass(frozen=True, eq=False)
class Prediction:
    """Detections in one image (H, W, 3) RGB, best score first.

    `categories` are all classes of the detector; labels are indices into them.
    """

    image: Pixels
    result: ImageResult
    categories: tuple[Category, ...]

    @property
    def boxes(self) -> Floats:
        """Boxes (n, 4) as x0, y0, x1, y1 in pixels of the image."""
        return self.result.boxes

    @property
    def scores(self) -> Floats:
        """Scores (n,), descending, between 0 and 1."""
        return self.result.scores

    @property
    def labels(self) -> Ints:
        """Class indices (n,) from 0."""
        return self.result.labels

    @property
    def class_names(self) -> list[str]:
        """The class of each detection."""
        return [self.categories[label].name for label in self.labels.tolist()]

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """Masks (n, H, W) at the size of the image; None if the detector predicts boxes only."""
        if self.result.rles is None:
            return None
        maps = [to_bitmap(rle) for rle in self.result.rles]
        return np.stack(maps) if maps else np.zeros((0, *self.image.shape[:2]), bool)

    def __len__(self) -> int:
        return len(self.result)

    def above(self, score: float) -> "Prediction":
        """The detections with at least this score."""
        return replace(self, result=self.result.above(score))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO result entries, with boxes as x, y, w, h and masks as compressed RLE."""
        return to_coco([replace(self.result, image_id=image_id)], self.categories)

    def draw(self, *, scores: bool = True, scale: float | None = None) -> Image.Image:
        """Draw all detections on the image.

        `scale` resizes it; by default, small images are enlarged to a short side of 480 pixels.
        """
        if scale is not None and not scale > 0:
            raise DataError(
                f"{scale!r} is not a valid scale.",
                where="draw(scale)",
                fix="give a number greater than 0.",
            )
        return draw(self.image, self.result, self.categories, 0.0, scores=scores, scale=scale)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        counts = Counter(self.class_names)
        classes = ", ".join(f"{number} {name}" for name, number in counts.most_common())
        summary = f"{counted(len(self), 'detection')} in {width} x {height} pixels"
        return f"<Prediction: {summary}{': ' if classes else ''}{classes}>"

    def _repr_html_(self) -> str:
        """The drawing and a table of the best detections, for notebooks."""
        file = io.BytesIO()
        self.draw().save(file, format="PNG")
        picture = base64.b64encode(file.getvalue()).decode("ascii")
        return (
            '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
            f'<img style="max-width:min(100%,720px)" alt="{html.escape(repr(self))}" '
            f'src="data:image/png;base64,{picture}">{_table(self)}</div>'
        )


def _table(prediction: Prediction) -> str:
    """The best detections as an HTML table."""
    names, scores = prediction.class_names[:ROWS], prediction.scores[:ROWS].tolist()
    boxes: Sequence[Sequence[float]] = prediction.boxes[:ROWS].tolist()
    rows = [
        f"<tr><td>{html.escape(name)}</td><td>{score:.2f}</td>"
        f"<td>{', '.join(f'{side:.0f}' for side in box)}</td></tr>"
        for name, score, box in zip(names, scores, boxes, strict=True)
    ]
    rest = len(prediction) - len(rows)
    rows += [f'<tr><td colspan="3">and {rest:,} more</td></tr>'] if rest else []
    return (
        "<table><thead><tr><th>class</th><th>score</th><th>x0, y0, x1, y1</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
