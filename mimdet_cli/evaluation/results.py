"""Predictions in the pixels of the original image, and the COCO format to save them in."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import Rle
from mimdet_cli.files import replacing

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Predictions on one image, best score first.

    boxes (n, 4) as x0, y0, x1, y1 in pixels of the original image, scores (n,), labels (n,) as
    class indices from 0; `rles` one mask per box, or None for boxes only.
    """

    image_id: int
    boxes: Floats
    scores: Floats
    labels: Ints
    rles: list[Rle] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> "ImageResult":
        """The predictions with at least this score."""
        kept = np.flatnonzero(self.scores >= score)
        rles = None if self.rles is None else [self.rles[index] for index in kept]
        return ImageResult(
            self.image_id, self.boxes[kept], self.scores[kept], self.labels[kept], rles
        )


def to_coco(results: Iterable[ImageResult], categories: Sequence[Category]) -> list[dict[str, Any]]:
    """COCO result entries with the data set's category ids and boxes as x, y, w, h."""
    ids = [category.id for category in categories]
    entries: list[dict[str, Any]] = []
    for result in results:
        boxes = np.concatenate(
            [result.boxes[:, :2], result.boxes[:, 2:] - result.boxes[:, :2]], axis=1
        )
        for index, (box, score, label) in enumerate(
            zip(boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
        ):
            entry = {
                "image_id": result.image_id,
                "category_id": ids[label],
                "bbox": box,
                "score": score,
            }
            if result.rles is not None:
                entry["segmentation"] = result.rles[index]
            entries.append(entry)
    return entries


def write_predictions(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a COCO results file, atomically."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(list(entries), file, allow_nan=False, separators=(",", ":"))
