"""Box and mask average precision of COCO results, computed by pycocotools.

The numbers are `COCOeval`'s own, in points of 100, None where undefined (no such object). Three
details avoid its pitfalls: boxes and masks are scored separately, so that a mask's size is its own
area, not its box's; annotations are renumbered from 1, because `COCOeval` treats a match with
annotation 0 as no match; empty results score 0.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mimdet_cli.data.coco.segmentations import is_absent
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.metrics import ACCURACIES, HEADLINES, TASKS, Task

CURVE_IOUS = {"0.50": 0, "0.75": 5}
BOX_KEYS = ("image_id", "category_id", "score", "bbox")
MASK_KEYS = ("image_id", "category_id", "score", "segmentation")
Kind = Literal["bbox", "segm"]
KINDS: Mapping[Task, Kind] = {"box": "bbox", "mask": "segm"}
"""`COCOeval`'s names of the tasks."""
Values = Mapping[str, float | None]
"""Accuracies by key."""
Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class ApReport:
    """The accuracies of a set of results.

    `values` are points of 100 by the keys of `metrics.ACCURACIES`, `per_class` the headline metrics
    of each class: None if there is no such object, no key if the task was not scored. `curves`
    hold, by task and IoU threshold ("0.50", "0.75"), the precision (0 to 1) at the recalls 0, 0.01,
    ... 1, averaged over the classes; an undefined curve is empty.
    """

    values: Values
    per_class: Mapping[str, Values]
    images: int
    detections: int
    curves: Mapping[Task, Curves] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as printed by `mimdet eval --json`."""
        return {
            **self.values,
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "images": self.images,
            "detections": self.detections,
        }


@dataclass(frozen=True, slots=True)
class _Scores:
    values: Values
    by_category: list[float | None]
    curves: Curves


def score(
    content: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    masks: bool,
    image_ids: Iterable[int] | None = None,
) -> ApReport:
    """Score COCO result entries against the content of an annotation file.

    `image_ids` are the images that count, including those without results; default: all images of
    the file.
    """
    known = {image["id"] for image in content["images"]}
    ids = known if image_ids is None else set(image_ids)
    if unknown := sorted(ids - known):
        raise DataError(
            f"{len(unknown)} scored images are not in the annotations, first: image id "
            f"{unknown[0]}.",
            fix="use the annotation file of the split that the predictions are for.",
        )
    counted = [entry for entry in results if entry["image_id"] in ids]
    truth = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    scores = {
        task: _scores(content, truth if task == "box" else masked(truth), counted, ids, task)
        for task in TASKS
        if masks or task == "box"
    }
    return ApReport(
        values={key: value for scored in scores.values() for key, value in scored.values.items()},
        per_class={
            name: {HEADLINES[task].key: scored.by_category[k] for task, scored in scores.items()}
            for k, name in enumerate(_names(content["categories"]))
        },
        images=len(ids),
        detections=len(counted),
        curves={task: scored.curves for task, scored in scores.items()},
    )


def masked(truth: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The annotations with a mask; crowd regions, which are not targets, may lack one."""
    kept = [entry for entry in truth if not is_absent(entry.get("segmentation"))]
    bare = [e for e in truth if is_absent(e.get("segmentation")) and not e.get("iscrowd", 0)]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(truth)} annotations have no mask, first: id {bare[0].get('id')}.",
            fix="score boxes only, or add the missing masks.",
        )
    return kept


def _scores(
    content: Mapping[str, Any],
    truth: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    ids: set[int],
    task: Task,
) -> _Scores:
    """Run `COCOeval` for one task and discard its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluator(content, truth, results, ids, KINDS[task])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]  # (IoU 10, recall 101, class, area 4, detections 3)
    order = {category: k for k, category in enumerate(evaluation.params.catIds)}
    return _Scores(
        values={
            metric.key: _points(evaluation.stats[metric.stat])
            for metric in ACCURACIES
            if metric.task == task
        },
        by_category=[
            _mean_points(precision[:, :, order[category["id"]], 0, -1])
            for category in content["categories"]
        ],
        curves={iou: _curve(precision[t, :, :, 0, -1]) for iou, t in CURVE_IOUS.items()},
    )


def evaluator(
    content: Mapping[str, Any],
    truth: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    ids: set[int],
    kind: Kind,
) -> COCOeval:
    """`COCOeval` for the results on the images `ids`, not yet run; prints to stdout."""
    reference = _index(content, [_complete(entry, n) for n, entry in enumerate(truth, 1)])
    entries = [_only(entry, kind) for entry in results]
    predictions = reference.loadRes(entries) if entries else _index(content, [])
    evaluation = COCOeval(reference, predictions, kind)
    evaluation.params.imgIds = sorted(ids)
    evaluation.params.catIds = sorted(evaluation.params.catIds)
    return evaluation


def _index(content: Mapping[str, Any], annotations: list[Any]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": list(content["images"]),
        "categories": list(content["categories"]),
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _complete(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A copy that `COCOeval` may modify, with an id from 1 and an area, computed if missing."""
    width, height = entry["bbox"][2:]
    return {"area": width * height, "iscrowd": 0, **entry, "id": number}


def _only(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The keys of a result entry that `kind` needs; a missing box is derived from the mask."""
    keys = BOX_KEYS if kind == "bbox" and "bbox" in entry else MASK_KEYS
    return {key: entry[key] for key in keys}


def _points(value: float) -> float | None:
    return None if value < 0 else 100 * float(value)


def _mean_points(precision: NDArray[np.float64]) -> float | None:
    defined = precision[precision > -1]
    return 100 * float(np.mean(defined)) if defined.size else None


def _curve(precision: NDArray[np.float64]) -> list[float]:
    """Mean over the classes that have objects; `precision` is (recall 101, class)."""
    defined = precision[:, (precision > -1).all(axis=0)]
    return defined.mean(axis=1).tolist() if defined.size else []


def _names(categories: Sequence[Mapping[str, Any]]) -> list[str]:
    """Class names; duplicates are suffixed with their category id."""
    count = Counter(category["name"] for category in categories)
    return [
        category["name"]
        if count[category["name"]] == 1
        else f"{category['name']} ({category['id']})"
        for category in categories
    ]
