"""Read anybody's COCO results file, and say everything that is wrong with it at once."""

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimdet_cli.data.rle import runs_of
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.annotation_file import read_annotations
from mimdet_cli.evaluation.json_file import (
    box_problem,
    describe,
    is_id,
    is_number,
    joined,
    read_json,
)
from mimdet_cli.evaluation.rle import to_rle

FIX: Final = (
    "a COCO results file is a list of {image_id, category_id, score, bbox and/or segmentation}; "
    "see https://cocodataset.org/#format-results."
)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Checked result entries; `masks` tells whether masks can be scored.

    All entries have the same geometry: a box, a mask (compressed RLE), or both.
    """

    entries: list[dict[str, Any]]
    masks: bool


def load_results(path: Path, annotation_file: Path) -> ResultFile:
    """The entries of `path`, checked against the images and classes of `annotation_file`."""
    content = read_annotations(annotation_file)
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(
            f"not a COCO results file: it holds {describe(entries)}, not a list.",
            where=str(path),
            fix=FIX,
        )
    check = _Check(
        sizes={image["id"]: (image["height"], image["width"]) for image in content["images"]},
        categories={category["id"] for category in content["categories"]},
        geometry=_geometry(entries),
        annotations=annotation_file.name,
    )
    problems = [
        DataError(what, where=f"{path}, entry {index}")
        for index, entry in enumerate(entries)
        for what in check.problems(entry)
    ]
    if problems:
        raise joined(problems, path, FIX)
    truth_has_masks = any(entry.get("segmentation") for entry in content["annotations"])
    return ResultFile(
        entries=[check.normal(entry) for entry in entries],
        masks=truth_has_masks and "segmentation" in check.geometry,
    )


@dataclass(frozen=True, slots=True)
class _Check:
    """What entries are held against: image sizes (height, width), class ids, geometry keys."""

    sizes: Mapping[int, tuple[int, int]]
    categories: Container[int]
    geometry: tuple[str, ...]
    annotations: str

    def problems(self, entry: object) -> Iterator[str]:
        """Everything that is wrong with one entry, a sentence each."""
        if not isinstance(entry, dict):
            yield f"an entry is an object; this is {describe(entry)}."
            return
        absent = [
            f"'{key}'"
            for key in ("image_id", "category_id", "score", *self.geometry)
            if key not in entry
        ]
        if absent:
            yield f"{', '.join(absent)} missing."
        checks: dict[str, Callable[[Any], str | None]] = {
            "image_id": lambda value: self._unknown(value, self.sizes, "image_id"),
            "category_id": lambda value: self._unknown(value, self.categories, "category_id"),
            "score": _score_problem,
            "bbox": box_problem,
        }
        found = [check(entry[key]) for key, check in checks.items() if key in entry]
        size = self.sizes.get(entry["image_id"]) if is_id(entry.get("image_id")) else None
        if "segmentation" in entry and size is not None:
            found.append(_mask_problem(entry["segmentation"], size))
        yield from filter(None, found)

    def normal(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry with its mask, if any, as compressed RLE."""
        if "segmentation" not in self.geometry:
            return entry
        return {
            **entry,
            "segmentation": to_rle(entry["segmentation"], *self.sizes[entry["image_id"]]),
        }

    def _unknown(self, value: object, known: Container[int], key: str) -> str | None:
        if not is_id(value):
            return f"{key} is {describe(value)}, not a whole number."
        return None if value in known else f"{key} {value} is not in {self.annotations}."


def _geometry(entries: list[Any]) -> tuple[str, ...]:
    """The keys that all entries must have: those of the first; an empty list lacks neither."""
    if not entries:
        return ("bbox", "segmentation")
    first = entries[0] if isinstance(entries[0], dict) else {}
    return tuple(key for key in ("bbox", "segmentation") if key in first) or ("bbox",)


def _score_problem(value: object) -> str | None:
    if not is_number(value):
        return f"score is {describe(value)}, not a number."
    return None if math.isfinite(value) else f"score is {value}, not a finite number."


def _mask_problem(value: object, size: tuple[int, int]) -> str | None:
    if isinstance(value, list):
        return None if _is_polygons(value) else "segmentation is not a list of polygons."
    if not isinstance(value, dict) or not {"size", "counts"} <= value.keys():
        return f"segmentation is {describe(value)}, not an RLE with size and counts."
    if value["size"] != list(size):
        return f"segmentation has size {value['size']}, but the image is {list(size)}."
    try:
        runs_of(value["counts"], *size)
    except ValueError as error:
        return f"segmentation cannot be read: {error}."
    return None


def _is_polygons(value: list[Any]) -> bool:
    return bool(value) and all(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(is_number(number) and math.isfinite(number) for number in polygon)
        for polygon in value
    )
