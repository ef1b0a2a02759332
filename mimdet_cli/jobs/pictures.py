"""The contact sheet of a scored split: predictions next to the ground truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimdet_cli.data.coco.rle import encode, encode_counts
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.data.images import read_image
from mimdet_cli.data.mask_transforms import bitmap
from mimdet_cli.evaluation.results import ImageResult
from mimdet_cli.evaluation.sheet import SheetRow, sheet
from mimdet_cli.files import replacing

SHOWN = 8


def write_sheet(path: Path, split: CocoSplit, results: Sequence[ImageResult]) -> None:
    """Draw images evenly spaced over the split, only those with objects if there are any."""
    places = {int(image_id): i for i, image_id in enumerate(split.image_ids)}
    found = sorted((places[result.image_id], result) for result in results)
    filled = [pair for pair in found if len(split.annotations(pair[0]))] or found
    spread = np.linspace(0, len(filled) - 1, min(SHOWN, len(filled)))
    rows = []
    for i, result in (filled[round(place)] for place in spread):
        size = split.size(i)
        image = read_image(split.path(i), size, image_id=result.image_id)
        rows.append(SheetRow(split.path(i).name, image, _truth(split, i), result))
    with replacing(path) as partial:
        sheet(rows, split.categories).save(partial, format="PNG")


def _truth(split: CocoSplit, i: int) -> ImageResult:
    truth = split.annotations(i)
    rles = None
    if truth.masks is not None:
        runs = [encode(bitmap(truth.masks, k)).tolist() for k in range(len(truth))]
        rles = encode_counts(runs, *split.size(i))
    return ImageResult(
        image_id=int(split.image_ids[i]),
        boxes=truth.boxes.astype(np.float32),
        scores=np.ones(len(truth), np.float32),
        labels=truth.labels,
        rles=rles,
    )
