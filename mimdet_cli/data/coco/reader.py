"""Read a COCO file for a purpose: its lists, and the records that the purpose's rules accept.

A record that cannot be used is added to the findings and skipped, so that one pass names every
problem of the file.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.findings import Findings
from mimdet_cli.data.coco.json_file import describe, read_json
from mimdet_cli.data.coco.records import (
    KEYS,
    Box,
    CocoAnnotation,
    CocoDocument,
    CocoEntry,
    ImageRow,
    Kind,
    Purpose,
    Record,
    Types,
)
from mimdet_cli.data.coco.rules import rules_for
from mimdet_cli.data.coco.segmentations import NUMBERS, is_absent, pack
from mimdet_cli.errors import DataError

LISTS: Final = ("images", "annotations", "categories")
NO_MASK: Final = (b"", 1.0, "")
FIX: Final = "give a COCO file of instances: lists 'images', 'annotations' and 'categories'."


def read_lists(file: Path, names: Sequence[str] = LISTS) -> dict[str, Any]:
    """The file's object, which has the lists `names`."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise DataError(
            f"This is {describe(content)}, not a COCO annotation file.", where=str(file), fix=FIX
        )
    missing = [f"'{name}'" for name in names if not isinstance(content.get(name), list)]
    if missing:
        raise DataError(
            f"The file has no list {' and no list '.join(missing)}.", where=str(file), fix=FIX
        )
    return content


class CocoReader:
    """Reads records for one purpose; what is wrong with them goes into `findings`.

    `ids` are those of all complete records of each list, repeated ones included.
    """

    def __init__(self, purpose: Purpose) -> None:
        self.findings = Findings(rules_for(purpose))
        self.ids: dict[Kind, list[Any]] = {}
        self._keys = KEYS[purpose]
        self._masks = purpose in ("masks", "results")

    def entries(
        self, kind: Kind, records: Sequence[Any], geometry: Sequence[str] = ()
    ) -> Iterator[CocoEntry]:
        """The records that have all keys, `geometry` too, with values of the right types."""
        keys: Mapping[str, Types] = {**self._keys[kind], **dict.fromkeys(geometry)}
        ids = self.ids.setdefault(kind, [])
        for position, record in enumerate(records):
            entry = CocoEntry(kind, position, record, keys)
            if self.findings.apply("entry", entry):
                ids.append(record.get("id"))
                yield entry

    def categories(self, records: Sequence[Any]) -> list[Category]:
        """All classes, by ascending id: the position is the label."""
        found = [
            Category(entry.record["id"], entry.record["name"])
            for entry in self.entries("category", records)
        ]
        return sorted(found, key=lambda category: category.id)

    def images(self, records: Sequence[Any]) -> list[ImageRow]:
        """All images, in the file's order."""
        rows = []
        for entry in self.entries("image", records):
            record = entry.record
            file = record.get("file_name", "")
            row = ImageRow(record["id"], file, record["height"], record["width"])
            self.findings.apply("image", row)
            rows.append(row)
        return rows

    def annotations(
        self,
        entries: Iterable[CocoEntry],
        images: Sequence[ImageRow] = (),
        categories: Sequence[Category] = (),
    ) -> Iterator[CocoAnnotation]:
        """The annotations in which no error is found and that are not dropped."""
        image_at = {image.id: i for i, image in enumerate(images)}
        label_of = {category.id: i for i, category in enumerate(categories)}
        sizes = [(image.height, image.width) for image in images]
        for entry in entries:
            record = entry.record
            image = image_at.get(record["image_id"])
            size = None if image is None else sizes[image]
            label = label_of.get(record["category_id"])
            box = _corners(record.get("bbox"))
            mask = NO_MASK if size is None or not self._masks else _mask(record, size)
            found = CocoAnnotation(entry, image, label, size, box, *mask)
            if self.findings.apply("annotation", found):
                yield found


def read_ground_truth(file: Path) -> dict[str, Any]:
    """The content of an annotation file whose records have everything that scoring needs."""
    content = read_lists(file)
    reader = CocoReader("scoring")
    reader.categories(content["categories"])
    reader.images(content["images"])
    for _ in reader.annotations(reader.entries("annotation", content["annotations"])):
        pass
    reader.findings.refuse({"file": file})
    return content


def read_classes(file: Path) -> list[Category]:
    """The classes of an annotation file by ascending id; its other lists need not be there."""
    content = read_lists(file, ("categories",))
    reader = CocoReader("classes")
    found = reader.categories(content["categories"])
    reader.findings.apply("document", CocoDocument(None, content, reader.ids, (), found))
    reader.findings.refuse({"file": file})
    return found


def _mask(record: Record, size: tuple[int, int]) -> tuple[bytes, float, str]:
    """The stored mask, its area, and why it cannot be read."""
    segmentation = record.get("segmentation")
    if is_absent(segmentation):
        return NO_MASK
    try:
        return *pack(segmentation, *size), ""
    except ValueError as error:
        return b"", 1.0, str(error)


def _corners(bbox: object) -> Box | None:
    """x, y, width, height as x0, y0, x1, y1; None unless these are four valid numbers."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not set(map(type, bbox)) <= NUMBERS or not all(map(math.isfinite, bbox)):
        return None
    x, y, width, height = bbox
    if width < 0 or height < 0:
        return None
    return float(x), float(y), float(x + width), float(y + height)
