"""Read a COCO results file of any origin and report all of its problems together."""

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
    """Validated result entries; `masks`: whether masks can be scored.

    Either all entries have a box, or a mask (compressed RLE), or both.
    """

    entries: list[dict[str, Any]]
    masks: bool


def load_results(path: Path, content: Mapping[str, Any]) -> ResultFile:
    """Load results and check them against the images and classes of an annotation file."""
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(
            f"expected the list of a COCO results file, not {describe(entries)}.",
            where=str(path),
            fix=FIX,
        )
    images = [
        ImageRow(image["id"], "", image["height"], image["width"]) for image in content["images"]
    ]
    categories = [Category(category["id"], category["name"]) for category in content["categories"]]
    geometry = _geometry(entries)
    reader = CocoReader("results")
    good = reader.entries("entry", entries, geometry)
    normalized = [
        _normalize(annotation.entry.record, geometry, annotation.size)
        for annotation in reader.annotations(good, images, categories)
    ]
    reader.findings.refuse({"file": path})
    truth_has_masks = any(
        not is_absent(entry.get("segmentation")) for entry in content["annotations"]
    )
    return ResultFile(normalized, masks=truth_has_masks and "segmentation" in geometry)


def _normalize(
    entry: dict[str, Any], geometry: tuple[str, ...], size: tuple[int, int] | None
) -> dict[str, Any]:
    """Convert the entry's mask, if any, to compressed RLE."""
    assert size is not None
    if "segmentation" not in geometry:
        return entry
    return {**entry, "segmentation": to_rle(entry["segmentation"], *size)}


def _geometry(entries: list[Any]) -> tuple[str, ...]:
    """The geometry keys that every entry must have: those of the first one."""
    if not entries:
        return ("bbox", "segmentation")
    first = entries[0] if isinstance(entries[0], dict) else {}
    return tuple(key for key in ("bbox", "segmentation") if key in first) or ("bbox",)
