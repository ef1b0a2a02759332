"""The three lists of a COCO file, checked record by record.

A record that cannot be used is added to the findings and left out, so that one pass names every
problem of the file.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimdet_cli.data.findings import Findings, Problem
from mimdet_cli.data.sample import Category
from mimdet_cli.data.segmentations import is_absent, pack

Record = dict[str, Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An entry of 'images'."""

    id: int
    file: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """An entry of 'annotations': image and label by position, box x0, y0, x1, y1, mask stored."""

    id: int
    image: int
    label: int
    box: Box
    crowd: bool
    segmentation: bytes


def read_categories(records: list[Any], findings: Findings) -> list[Category]:
    """All classes, by ascending id: the position is the label."""
    found = [
        Category(record["id"], record["name"])
        for record in _usable(records, "category", {"id": int, "name": str}, findings)
    ]
    return sorted(found, key=lambda category: category.id)


def read_images(records: list[Any], findings: Findings) -> list[ImageRow]:
    """All images, in the file's order."""
    keys = {"id": int, "file_name": str, "height": int, "width": int}
    rows = []
    for record in _usable(records, "image", keys, findings):
        height, width = record["height"], record["width"]
        if height < 1 or width < 1:
            case = f"image {record['id']} is {width} x {height} pixels"
            findings.add(Problem.WRONG_VALUE, case)
        rows.append(ImageRow(record["id"], record["file_name"], height, width))
    return rows


def check_files(images: list[ImageRow], folder: Path, findings: Findings) -> None:
    """Every image's file is there; one listing of the folder, not one question per file."""
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    for image in images:
        if image.file not in present and not (folder / image.file).is_file():
            findings.add(Problem.MISSING_FILE, image.file)


@dataclass(slots=True)
class AnnotationReader:
    """Checks annotations against the images and categories; counts what is left out by rule.

    An annotation without area (a box side of 0, or a mask without pixels) or wholly outside its
    image is left out. COCO's own files have such boxes, and nothing can be learned from them. The
    stated 'area' is not used: converters that do not know it write 0.
    """

    images: list[ImageRow]
    categories: list[Category]
    need_masks: bool
    findings: Findings
    without_area: list[int]
    outside: list[int]

    def read(self, records: list[Any]) -> Iterator[AnnotationRow]:
        """The usable annotations, in the file's order."""
        image_at = {image.id: i for i, image in enumerate(self.images)}
        label_of = {category.id: i for i, category in enumerate(self.categories)}
        keys = {"id": int, "image_id": int, "category_id": int, "bbox": list}
        for record in _usable(records, "annotation", keys, self.findings):
            image, label = image_at.get(record["image_id"]), label_of.get(record["category_id"])
            if image is None:
                case = f"{record['id']} (image {record['image_id']})"
                self.findings.add(Problem.UNKNOWN_IMAGE, case)
            if label is None:
                case = f"{record['id']} (category {record['category_id']})"
                self.findings.add(Problem.UNKNOWN_CATEGORY, case)
            if image is not None and (row := self._row(record, image, label or 0)):
                yield row

    def _row(self, record: Record, image: int, label: int) -> AnnotationRow | None:
        size = self.images[image]
        box = _corners(record["bbox"])
        if box is None:
            self.findings.add(Problem.BAD_BOX, f"annotation {record['id']} has {record['bbox']}")
        stored, area = self._segmentation(record, size)
        if box is None:
            return None
        if box[0] == box[2] or box[1] == box[3] or area == 0:
            self.without_area.append(record["id"])
            return None
        x0, x1 = max(box[0], 0.0), min(box[2], float(size.width))
        y0, y1 = max(box[1], 0.0), min(box[3], float(size.height))
        if x0 >= x1 or y0 >= y1:
            self.outside.append(record["id"])
            return None
        crowd = bool(record.get("iscrowd", 0))
        return AnnotationRow(record["id"], image, label, (x0, y0, x1, y1), crowd, stored)

    def _segmentation(self, record: Record, image: ImageRow) -> tuple[bytes, float]:
        """The stored mask and its area; no mask has area 1, so that its box decides."""
        segmentation = record.get("segmentation")
        if not self.need_masks:
            return b"", 1.0
        if is_absent(segmentation):
            if not record.get("iscrowd", 0):  # crowds are no targets
                self.findings.add(Problem.NO_MASK, f"{record['id']}")
            return b"", 1.0
        try:
            return pack(segmentation, image.height, image.width)
        except ValueError as error:
            self.findings.add(Problem.BAD_SEGMENTATION, f"annotation {record['id']}: {error}")
            return b"", 1.0


def _usable(
    records: list[Any], kind: str, keys: dict[str, type], findings: Findings
) -> Iterator[Record]:
    """Records that have all keys with values of the right type, and an id of their own."""
    seen: set[int] = set()
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            findings.add(Problem.NOT_A_RECORD, f"{kind} at position {position}")
            continue
        name = f"{kind} {record['id']}" if "id" in record else f"{kind} at position {position}"
        missing = [key for key in keys if key not in record]
        wrong = [key for key, of in keys.items() if key in record and type(record[key]) is not of]
        for key in missing:
            findings.add(Problem.MISSING_KEY, f"{name} has no '{key}'")
        for key in wrong:
            findings.add(Problem.WRONG_VALUE, f"{name} has {key} {record[key]!r}")
        if missing or wrong:
            continue
        if record["id"] in seen:
            findings.add(Problem.DUPLICATE_ID, name)
            continue
        seen.add(record["id"])
        yield record


def _corners(bbox: list[Any]) -> Box | None:
    """x, y, width, height as x0, y0, x1, y1; None if these are no four good numbers."""
    if len(bbox) != 4 or not all(type(v) in (int, float) and math.isfinite(v) for v in bbox):
        return None
    x, y, width, height = bbox
    if width < 0 or height < 0:
        return None
    return float(x), float(y), float(x + width), float(y + height)
