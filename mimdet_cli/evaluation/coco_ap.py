"""Box and mask average precision of COCO results, computed by pycocotools.

The numbers are `COCOeval`'s own, in points of 100; undefined ones (no such object) are None. Three
things are arranged around it so that they are what a reader expects: boxes and masks are scored
apart, so that the size of a mask is its own area and not its box's; annotations are renumbered
from 1, because `COCOeval` takes a match with annotation 0 for none; no results score 0.
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
"""What `COCOeval` calls the tasks."""
Values = Mapping[str, float | None]
"""Accuracies by key."""
Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class ApReport:
    """What `mimdet eval` reports.

    `values` are points of 100 by the keys of `metrics.ACCURACIES`, `per_class` the headlines of
    each class: None where there is no such object, no key where the task was not scored. `curves`
    hold, by task, precision (0 to 1) at the 101 recalls 0, 0.01, ... 1, averaged over the classes,
    by IoU threshold ("0.50", "0.75"); a curve is empty where undefined.
    """

    values: Values
    per_class: Mapping[str, Values]
    images: int
    detections: int
    curves: Mapping[Task, Curves] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as the command prints it with `--json`."""
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

    `image_ids` are the images that were predicted on, by default all of the file; annotations and
    results of others do not count. An image without results counts.
    """
    known = {image["id"] for image in content["images"]}
    ids = known if image_ids is None else set(image_ids)
    if strangers := sorted(ids - known):
        raise DataError(
            f"{len(strangers)} scored images are not in the annotations, the first is image id "
            f"{strangers[0]}.",
            fix="score against the annotation file of the split that was predicted on.",
        )
    counted = [entry for entry in results if entry["image_id"] in ids]
    truth = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    found = {
        task: _scores(content, truth if task == "box" else masked(truth), counted, ids, task)
        for task in TASKS
        if masks or task == "box"
    }
    return ApReport(
        values={key: value for one in found.values() for key, value in one.values.items()},
        per_class={
            name: {HEADLINES[task].key: one.by_category[k] for task, one in found.items()}
            for k, name in enumerate(_names(content["categories"]))
        },
        images=len(ids),
        detections=len(counted),
        curves={task: one.curves for task, one in found.items()},
    )


def masked(truth: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The annotations with a mask; a crowd region, which is no target, may lack one."""
    kept = [entry for entry in truth if not is_absent(entry.get("segmentation"))]
    bare = [e for e in truth if is_absent(e.get("segmentation")) and not e.get("iscrowd", 0)]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(truth)} annotations have no mask, the first has id "
            f"{bare[0].get('id')}.",
            fix="score boxes only, or complete the annotations.",
        )
    return kept


def _scores(
    content: Mapping[str, Any],
    truth: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    ids: set[int],
    task: Task,
) -> _Scores:
    """Run `COCOeval` for one task; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluator(content, truth, results, ids, KINDS[task])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"]  # (IoU 10, recall 101, class, area 4, detections 3)
    order = {category: k for k, category in enumerate(evaluation.params.catIds)}
    return _Scores(
        values={
            one.key: _points(evaluation.stats[one.stat]) for one in ACCURACIES if one.task == task
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
    """`COCOeval` of results on the images `ids`, ready to be run; it prints."""
    reference = _index(content, [_complete(entry, n) for n, entry in enumerate(truth, 1)])
    entries = [_only(entry, kind) for entry in results]
    found = reference.loadRes(entries) if entries else _index(content, [])
    evaluation = COCOeval(reference, found, kind)
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
    """A copy for `COCOeval` to write into, with an id from 1 and an area where there is none."""
    width, height = entry["bbox"][2:]
    return {"area": width * height, "iscrowd": 0, **entry, "id": number}


def _only(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A result entry with what `kind` needs; a box is derived from the mask if there is none."""
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
    """Class names; one that occurs twice carries its category id, so that none is lost."""
    count = Counter(category["name"] for category in categories)
    return [
        category["name"]
        if count[category["name"]] == 1
        else f"{category['name']} ({category['id']})"
        for category in categories
    ]
