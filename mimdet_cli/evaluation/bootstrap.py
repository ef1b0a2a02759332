"""AP of bootstrap resamples: match results once, then weight every image by its count.

`COCOeval` matches detections with objects image by image, so repeating an image in a data set needs
no new matches: its detections and objects count twice. Without resampling, AP equals `COCOeval`'s
first number to the last digit. With counts, it is `COCOeval`'s number on a data set that repeats
the images, with the copies of a detection adjacent in score order.

Recall rises only at true positives ("hits"), so the maximum precision from a given recall on is
reached at a hit; the other detections only enter the counts.

Legend: N images, D detections of a class, best first, T IoU thresholds, R recalls, K classes,
S resamples, h hits at one threshold.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mimdet_cli.evaluation.coco_ap import KINDS, Kind, evaluator, masked
from mimdet_cli.evaluation.metrics import ACCURACIES
from mimdet_cli.evaluation.result_file import load_results

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EVERY_SIZE: Final = [0.0, 1e10]
RECALLS: Final[Floats] = np.linspace(0, 1, 101)
ABSENT: Final = -1.0
CELLS: Final = 2**21
"""Maximum number of elements of an array in one block of resamples."""


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """The detections of one class, best first, and its ground truth.

    `images` (D,) is the image index of each detection. `hits` (T, D) marks true positives,
    `counted` (T, D) the detections that are not ignored. `objects` (N,) is the number of objects
    per image.
    """

    images: Ints
    hits: Bools
    counted: Bools
    objects: Ints

    def precision(self, counts: Ints) -> Floats:
        """Precision (S, T, R) for counts (S, N); `ABSENT` where a resample has no objects."""
        total = counts @ self.objects  # (S,)
        needed = hits_needed(total)  # (S, R)
        weights = counts[:, self.images]  # (S, D)
        rows = [
            _precision(weights, hits, counted, needed)
            for hits, counted in zip(self.hits, self.counted, strict=True)
        ]
        precision = np.stack(rows, axis=1)  # (S, T, R)
        precision[total == 0] = ABSENT
        return precision


@dataclass(frozen=True, slots=True)
class Matches:
    """Results on a set of images, matched with the ground truth.

    `image_ids` (N,) ascend and define the order of counts.
    """

    image_ids: Ints
    classes: Sequence[ClassMatches]

    @property
    def ap(self) -> float | None:
        """AP without resampling, in points of 100; None if there are no objects."""
        (value,) = self.resampled(np.ones((1, len(self.image_ids)), np.int64)).tolist()
        return None if np.isnan(value) else value

    def resampled(self, counts: Ints) -> Floats:
        """AP (S,) in points of 100 for counts (S, N); NaN where a resample has no objects."""
        parts = [self._block(block) for block in self._blocks(counts)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _blocks(self, counts: Ints) -> Iterator[Ints]:
        thresholds = len(self.classes[0].hits) if self.classes else 1
        largest = max((len(matches.images) for matches in self.classes), default=1)
        cells = max(largest, thresholds * len(RECALLS) * len(self.classes), 1)
        step = max(CELLS // cells, 1)
        for start in range(0, len(counts), step):
            yield counts[start : start + step]

    def _block(self, counts: Ints) -> Floats:
        if not self.classes:
            return np.full(len(counts), np.nan)
        precision = np.stack([matches.precision(counts) for matches in self.classes], axis=3)
        return np.array([_mean_points(row) for row in precision])  # (S, T, R, K) -> (S,)


def match(content: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: Kind) -> Matches:
    """Match COCO result entries with the annotations in a file's `content`.

    Covers objects of all sizes and at most 100 detections per class and image.
    """
    ids = {image["id"] for image in content["images"]}
    truth = content["annotations"] if kind == "bbox" else masked(content["annotations"])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluator(content, truth, results, ids, kind)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [EVERY_SIZE], ["all"]
        evaluation.evaluate()
    image_results: list[Any] = evaluation.evalImgs  # by class, then by ascending image id
    images, thresholds = len(ids), len(evaluation.params.iouThrs)
    classes = [
        _class_matches(image_results[k * images : (k + 1) * images], thresholds)
        for k in range(len(evaluation.params.catIds))
    ]
    return Matches(np.array(sorted(ids), np.int64), classes)


def match_file(results: Path, content: Mapping[str, Any]) -> dict[str, Matches]:
    """Match a COCO results file for every resampled metric; masks only if both sides have them."""
    loaded = load_results(results, content)
    return {
        metric.key: match(content, loaded.entries, KINDS[metric.task])
        for metric in ACCURACIES
        if metric.resampled and (loaded.masks or metric.task == "box")
    }


def hits_needed(objects: Ints) -> Ints:
    """The smallest numbers of hits (S, R) that reach `RECALLS`, given `objects` (S,).

    Uses the same division as `COCOeval`, for identical rounding.
    """
    total = np.maximum(objects, 1)[:, None]
    guess = np.maximum(np.ceil(RECALLS * total).astype(np.int64) - 1, 0)  # (S, R), or one too low
    for _ in range(2):
        guess += guess / total < RECALLS
    return guess


def _precision(weights: Ints, hits: Bools, counted: Bools, needed: Ints) -> Floats:
    """Precision (S, R) at the recalls that take `needed` (S, R) hits; `weights` are (S, D)."""
    at = np.flatnonzero(hits)
    right = np.cumsum(weights[:, at], axis=1)  # (S, h)
    judged = np.cumsum(weights * counted, axis=1)[:, at]  # (S, h)
    precision = right / (judged + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)  # recalls never reached
    return np.take_along_axis(best, _first_reaching(right, needed), axis=1)


def _first_reaching(right: Ints, needed: Ints) -> Ints:
    """Index (S, R) of the first value of `right` (S, h) that is at least `needed` (S, R), else h.

    `right` ascends. All rows are searched at once, each offset above the previous one.
    """
    rows, length = right.shape
    lift = np.arange(rows)[:, None] * (int(max(right.max(initial=0), needed.max())) + 1)
    positions = np.searchsorted((right + lift).ravel(), (needed + lift).ravel())
    return positions.reshape(needed.shape) - np.arange(rows)[:, None] * length


def _class_matches(images: Sequence[Any], thresholds: int) -> ClassMatches:
    """Collect `COCOeval`'s per-image results of one class; None: no objects or detections."""
    results = {index: result for index, result in enumerate(images) if result is not None}
    scores = np.concatenate([np.zeros(0), *[result["dtScores"] for result in results.values()]])
    order = np.argsort(-scores, kind="mergesort")
    empty = np.zeros((thresholds, 0), bool)
    matched = np.concatenate([empty, *[r["dtMatches"] > 0 for r in results.values()]], axis=1)
    ignored = np.concatenate([empty, *[r["dtIgnore"] > 0 for r in results.values()]], axis=1)
    indices = np.repeat([*results], [len(result["dtScores"]) for result in results.values()])
    objects = np.zeros(len(images), np.int64)
    for index, result in results.items():
        objects[index] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
    counted = ~ignored[:, order]
    return ClassMatches(
        images=indices[order].astype(np.int64),
        hits=matched[:, order] & counted,
        counted=counted,
        objects=objects,
    )


def _mean_points(precision: Floats) -> float:
    """Mean over the classes that have objects; `precision` is (T, R, K)."""
    defined = precision[precision > ABSENT]
    return 100 * float(np.mean(defined)) if defined.size else float("nan")
