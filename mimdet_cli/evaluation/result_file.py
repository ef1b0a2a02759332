"""Read anybody's COCO results file, and say everything that is wrong with it at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.json_file import describe, read_json
from mimdet_cli.data.coco.reader import CocoReader
from mimdet_cli.data.coco.records import ImageRow
from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.data.coco.segmentations import is_absent
from mimdet_cli.errors import DataError

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


def load_results(path: Path, content: Mapping[str, Any]) -> ResultFile:
    """The entries of `path`, checked against the images and classes of a ground truth."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(
            f"This is {describe(entries)}, not the list of a COCO results file.",
            where=str(path),
            fix=FIX,
        )
    images = [ImageRow(one["id"], "", one["height"], one["width"]) for one in content["images"]]
    categories = [Category(one["id"], one["name"]) for one in content["categories"]]
    geometry = _geometry(entries)
    reader = CocoReader("results")
    good = reader.entries("entry", entries, geometry)
    found = [
        _normal(one.entry.record, geometry, one.size)
        for one in reader.annotations(good, images, categories)
    ]
    reader.findings.refuse({"file": path})
    truth_has_masks = any(
        not is_absent(entry.get("segmentation")) for entry in content["annotations"]
    )
    return ResultFile(found, masks=truth_has_masks and "segmentation" in geometry)


def _normal(
    entry: dict[str, Any], geometry: tuple[str, ...], size: tuple[int, int] | None
) -> dict[str, Any]:
    """The entry with its mask, if any, as compressed RLE."""
    assert size is not None
    if "segmentation" not in geometry:
        return entry
    return {**entry, "segmentation": to_rle(entry["segmentation"], *size)}


def _geometry(entries: list[Any]) -> tuple[str, ...]:
    """The keys that all entries must have: those of the first; an empty list lacks neither."""
    if not entries:
        return ("bbox", "segmentation")
    first = entries[0] if isinstance(entries[0], dict) else {}
    return tuple(key for key in ("bbox", "segmentation") if key in first) or ("bbox",)
