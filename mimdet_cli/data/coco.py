"""A split in COCO format: found, checked as a whole, and kept in a few arrays.

Nothing here is held per annotation as a Python object: workers that are forked from this process
share the arrays, and their memory does not grow with the number of annotations.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mimdet_cli.data.coco_records import (
    AnnotationReader,
    AnnotationRow,
    check_files,
    read_categories,
    read_images,
)
from mimdet_cli.data.findings import Findings, Problem, listed
from mimdet_cli.data.masks import InstanceMasks
from mimdet_cli.data.packed import Packed
from mimdet_cli.data.sample import Category
from mimdet_cli.data.segmentations import is_absent, unpack
from mimdet_cli.data.truth import Truth
from mimdet_cli.errors import DataError

NO_MASKS = "no annotation has a mask; boxes alone are used."


@dataclass(frozen=True, slots=True)
class Annotations:
    """Annotations sorted by image; those of image `i` are rows `starts[i] : starts[i + 1]`."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    segmentations: Packed

    @classmethod
    def of(cls, rows: Sequence[AnnotationRow], images: int) -> Self:
        """From rows in any order, for a split of so many images."""
        rows = sorted(rows, key=lambda row: row.image)
        counts = np.bincount([row.image for row in rows], minlength=images)
        return cls(
            np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            np.array([row.id for row in rows], dtype=np.int64),
            np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4),
            np.array([row.label for row in rows], dtype=np.int64),
            Packed.of(row.segmentation for row in rows),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def of_image(self, i: int) -> slice:
        """The rows of image `i`."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def per_image(self) -> NDArray[np.int64]:
        """How many rows each image has."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class CocoSplit:
    """Images, their objects and, apart from these, their crowd regions (which are no targets).

    `notes` are sentences about what was left out by rule. `has_masks` says whether the
    segmentations were read.
    """

    annotation_file: Path
    image_folder: Path
    categories: tuple[Category, ...]
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int64]  # (n, 2) height, width
    files: Packed
    objects: Annotations
    crowds: Annotations
    has_masks: bool
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    def path(self, i: int) -> Path:
        """The file of image `i`."""
        return self.image_folder / self.files[i].decode()

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of image `i`."""
        return int(self.sizes[i, 0]), int(self.sizes[i, 1])

    def truth(self, i: int) -> Truth:
        """The objects of image `i`, without crowd regions."""
        rows = self.objects.of_image(i)
        masks = None
        if self.has_masks:
            height, width = self.size(i)
            stored = (self.objects.segmentations[row] for row in range(rows.start, rows.stop))
            masks = InstanceMasks(tuple(unpack(s, height, width) for s in stored), height, width)
        return Truth(self.objects.boxes[rows], self.objects.labels[rows], masks)

    def usable(self) -> NDArray[np.int64]:
        """Images that have at least one object."""
        return np.flatnonzero(self.objects.per_image())


def find_split(
    root: Path | None,
    split: Literal["train", "val"],
    annotations: Path | None = None,
    images: Path | None = None,
) -> tuple[Path, Path]:
    """Annotation file and image folder of a split: as given, else as COCO lays them out."""
    stems = (f"{split}2017", split)
    files = [root / "annotations" / f"instances_{stem}.json" for stem in stems] if root else []
    folders = [root / stem for stem in stems] if root else []
    files, folders = [annotations] if annotations else files, [images] if images else folders
    file = next((path for path in files if path.is_file()), None)
    folder = next((path for path in folders if path.is_dir()), None)
    if file and folder:
        return file, folder
    errors = []
    for found, tried, what, key in (
        (file, files, "annotation file", "annotations"),
        (folder, folders, "image folder", "images"),
    ):
        if not found:
            errors.append(
                DataError(
                    f"No {what} of the {split} split.",
                    where=" or ".join(map(str, tried)) or "no data folder is set",
                    fix=f"give a folder in COCO layout with --data, or set data.{split}_{key}.",
                )
            )
    raise DataError.joined(errors)


def load_split(annotation_file: Path, image_folder: Path, *, need_masks: bool) -> CocoSplit:
    """Read and check a whole split; every problem of it is in the one error that is raised.

    Where masks are needed, either every annotation has one or none has: `has_masks` tells which.
    """
    document = _read_document(annotation_file)
    masks = need_masks and not _has_boxes_alone(document["annotations"])
    findings = Findings(annotation_file)
    categories = read_categories(document["categories"], findings)
    images = read_images(document["images"], findings)
    check_files(images, image_folder, findings)
    reader = AnnotationReader(images, categories, masks, findings, [], [])
    rows = list(reader.read(document["annotations"]))
    errors = findings.errors({Problem.MISSING_FILE: image_folder})
    for name in ("images", "categories"):
        if not document[name]:
            fix = f"add the {name}, or point to another annotation file."
            errors.append(DataError(f"There are no {name}.", where=str(annotation_file), fix=fix))
    if errors:
        raise DataError.joined(errors)
    return CocoSplit(
        annotation_file,
        image_folder,
        tuple(categories),
        np.array([image.id for image in images], dtype=np.int64),
        np.array([(image.height, image.width) for image in images], dtype=np.int64),
        Packed.of(image.file.encode() for image in images),
        Annotations.of([row for row in rows if not row.crowd], len(images)),
        Annotations.of([row for row in rows if row.crowd], len(images)),
        masks,
        (*([NO_MASKS] if need_masks and not masks else []), *_notes(reader)),
    )


def _has_boxes_alone(annotations: list[Any]) -> bool:
    """Whether there are annotations, none of them with a mask."""
    records = [one for one in annotations if isinstance(one, dict)]
    return bool(records) and all(is_absent(one.get("segmentation")) for one in records)


def _read_document(file: Path) -> dict[str, list[Any]]:
    """The file's object with its three lists."""
    try:
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        place = f"{file}, line {error.lineno}, column {error.colno}"
        fix = "mend the file, or copy it again if it was cut off."
        raise DataError(f"This is not JSON: {error.msg}.", where=place, fix=fix) from error
    except (OSError, UnicodeDecodeError) as error:
        fix = "give a readable annotation file in COCO format."
        raise DataError(f"Cannot read it: {error}.", where=str(file), fix=fix) from error
    fix = "give a COCO file of instances: lists 'images', 'annotations' and 'categories'."
    if not isinstance(document, dict):
        raise DataError("The file is not a JSON object.", where=str(file), fix=fix)
    errors = [
        DataError(f"The file has no list '{key}'.", where=str(file), fix=fix)
        for key in ("images", "annotations", "categories")
        if not isinstance(document.get(key), list)
    ]
    if errors:
        raise DataError.joined(errors)
    return document


def _notes(reader: AnnotationReader) -> tuple[str, ...]:
    kinds = ((reader.without_area, "without area"), (reader.outside, "outside their image"))
    return tuple(
        f"{len(ids)} annotation{'s' if len(ids) > 1 else ''} {reason} dropped: "
        f"id{'s' if len(ids) > 1 else ''} {listed([str(i) for i in ids], len(ids))}."
        for ids, reason in kinds
        if ids
    )
