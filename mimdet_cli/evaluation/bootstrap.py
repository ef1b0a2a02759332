"""AP of resampled images: results are matched once, then any images may count any number of times.

`COCOeval` matches detections with objects image by image, so that a data set in which an image
stands twice needs no new matches: its detections and objects count twice. AP of the images as they
are is `COCOeval`'s first number to the last digit; AP of counts is its number on a data set that
repeats the images, with the copies of a detection next to each other in the order of scores.

Precision is read at recalls, and recall rises at hits only, so that the highest precision from a
recall on stands at a hit: the other detections are counted, not visited.

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
"""Numbers that one array of a block of resamples may hold."""


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """One class's detections, best first, and the objects that there are to find.

    `images` (D,) is the image of each detection, by its place; `hits` (T, D) are detections of an
    object, `counted` (T, D) those that are right or wrong, not ignored; `objects` (N,) per image.
    """

    images: Ints
    hits: Bools
    counted: Bools
    objects: Ints

    def precision(self, counts: Ints) -> Floats:
        """Precision (S, T, R) of counts (S, N); `ABSENT` where no object is left."""
        total = counts @ self.objects  # (S,)
        needed = hits_needed(total)  # (S, R)
        weights = counts[:, self.images]  # (S, D)
        rows = [
            _precision(weights, hits, counted, needed)
            for hits, counted in zip(self.hits, self.counted, strict=True)
        ]
        found = np.stack(rows, axis=1)  # (S, T, R)
        found[total == 0] = ABSENT
        return found


@dataclass(frozen=True, slots=True)
class Matches:
    """Results on a set of images, matched with its objects.

    `image_ids` (N,) ascend: counts are in their order.
    """

    image_ids: Ints
    classes: Sequence[ClassMatches]

    @property
    def ap(self) -> float | None:
        """AP of the images as they are, in points of 100; None where there are no objects."""
        (value,) = self.resampled(np.ones((1, len(self.image_ids)), np.int64)).tolist()
        return None if np.isnan(value) else value

    def resampled(self, counts: Ints) -> Floats:
        """AP (S,) in points of 100 of counts (S, N) of the images; NaN where no object is left."""
        parts = [self._block(block) for block in self._blocks(counts)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _blocks(self, counts: Ints) -> Iterator[Ints]:
        thresholds = len(self.classes[0].hits) if self.classes else 1
        largest = max((len(one.images) for one in self.classes), default=1)
        cells = max(largest, thresholds * len(RECALLS) * len(self.classes), 1)
        step = max(CELLS // cells, 1)
        for start in range(0, len(counts), step):
            yield counts[start : start + step]

    def _block(self, counts: Ints) -> Floats:
        if not self.classes:
            return np.full(len(counts), np.nan)
        precision = np.stack([one.precision(counts) for one in self.classes], axis=3)
        return np.array([_mean_points(row) for row in precision])  # (S, T, R, K) -> (S,)


def match(content: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: Kind) -> Matches:
    """Match COCO result entries with the objects of an annotation file's content.

    Boxes or masks, objects of every size, at most 100 detections of a class in an image.
    """
    ids = {image["id"] for image in content["images"]}
    truth = content["annotations"] if kind == "bbox" else masked(content["annotations"])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluator(content, truth, results, ids, kind)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [EVERY_SIZE], ["all"]
        evaluation.evaluate()
    found: list[Any] = evaluation.evalImgs  # class by class, images in the order of their ids
    images, thresholds = len(ids), len(evaluation.params.iouThrs)
    classes = [
        _class_matches(found[k * images : (k + 1) * images], thresholds)
        for k in range(len(evaluation.params.catIds))
    ]
    return Matches(np.array(sorted(ids), np.int64), classes)


def match_file(results: Path, content: Mapping[str, Any]) -> dict[str, Matches]:
    """The resampled metrics of a COCO results file; of masks where both sides have them."""
    found = load_results(results, content)
    return {
        one.key: match(content, found.entries, KINDS[one.task])
        for one in ACCURACIES
        if one.resampled and (found.masks or one.task == "box")
    }


def hits_needed(objects: Ints) -> Ints:
    """Smallest number of hits (S, R) whose recall of `objects` (S,) is at least each of `RECALLS`.

    Found by the division that `COCOeval` makes, so that rounding decides alike.
    """
    total = np.maximum(objects, 1)[:, None]
    guess = np.maximum(np.ceil(RECALLS * total).astype(np.int64) - 1, 0)  # (S, R), or one too low
    for _ in range(2):
        guess += guess / total < RECALLS
    return guess


def _precision(weights: Ints, hits: Bools, counted: Bools, needed: Ints) -> Floats:
    """Precision (S, R) at the recalls of `needed` (S, R) hits; `weights` are (S, D)."""
    at = np.flatnonzero(hits)
    right = np.cumsum(weights[:, at], axis=1)  # (S, h)
    judged = np.cumsum(weights * counted, axis=1)[:, at]  # (S, h)
    precision = right / (judged + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)  # recalls never reached
    return np.take_along_axis(best, _first_reaching(right, needed), axis=1)


def _first_reaching(right: Ints, needed: Ints) -> Ints:
    """Index (S, R) of the first of the ascending `right` (S, h) that is `needed` (S, R) or more.

    h where none is. All rows are searched as one: each is lifted above the row before.
    """
    rows, length = right.shape
    lift = np.arange(rows)[:, None] * (int(max(right.max(initial=0), needed.max())) + 1)
    found = np.searchsorted((right + lift).ravel(), (needed + lift).ravel())
    return found.reshape(needed.shape) - np.arange(rows)[:, None] * length


def _class_matches(images: Sequence[Any], thresholds: int) -> ClassMatches:
    """What `COCOeval` found for one class, image by image; None stands for nothing to find."""
    there = [(place, one) for place, one in enumerate(images) if one is not None]
    scores = np.concatenate([np.zeros(0), *[one["dtScores"] for _, one in there]])
    order = np.argsort(-scores, kind="mergesort")
    empty = np.zeros((thresholds, 0), bool)
    matched = np.concatenate([empty, *[one["dtMatches"] > 0 for _, one in there]], axis=1)
    ignored = np.concatenate([empty, *[one["dtIgnore"] > 0 for _, one in there]], axis=1)
    places = np.repeat([place for place, _ in there], [len(one["dtScores"]) for _, one in there])
    objects = np.zeros(len(images), np.int64)
    for place, one in there:
        objects[place] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
    counted = ~ignored[:, order]
    return ClassMatches(
        images=places[order].astype(np.int64),
        hits=matched[:, order] & counted,
        counted=counted,
        objects=objects,
    )


def _mean_points(precision: Floats) -> float:
    """Mean over the classes that have objects; `precision` is (T, R, K)."""
    defined = precision[precision > ABSENT]
    return 100 * float(np.mean(defined)) if defined.size else float("nan")
