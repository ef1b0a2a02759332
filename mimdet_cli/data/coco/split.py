"""A split in COCO format: found, checked as a whole, and kept in a few arrays.

Nothing here is held per annotation as a Python object: workers that are forked from this process
share the arrays, and their memory does not grow with the number of annotations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heads.instances import InstanceMasks
from mimdet_cli.data.annotations import Annotations, Category
from mimdet_cli.data.coco.ground_truth import GroundTruth
from mimdet_cli.data.coco.reader import CocoReader, read_lists
from mimdet_cli.data.coco.records import AnnotationRow, CocoAnnotation, CocoDocument
from mimdet_cli.data.coco.segmentations import is_absent, unpack
from mimdet_cli.data.coco.table import AnnotationTable, ByteStrings
from mimdet_cli.errors import DataError
from mimdet_cli.recipe.schema import Data


@dataclass(frozen=True, slots=True)
class CocoSplit:
    """Images, their objects and, apart from these, their crowd regions (which are not targets).

    `notes` are sentences about what was left out by rule. `has_masks` says whether the
    segmentations were read. `ground_truth` is set if the split is to be scored.
    """

    annotation_file: Path
    image_folder: Path
    categories: tuple[Category, ...]
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int64]  # (n, 2) height, width
    files: ByteStrings
    objects: AnnotationTable
    crowds: AnnotationTable
    has_masks: bool
    notes: tuple[str, ...]
    ground_truth: GroundTruth | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def path(self, i: int) -> Path:
        """The file of image `i`."""
        return self.image_folder / self.files[i].decode()

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of image `i`."""
        return int(self.sizes[i, 0]), int(self.sizes[i, 1])

    def annotations(self, i: int) -> Annotations:
        """The objects of image `i`, without crowd regions."""
        rows = self.objects.of_image(i)
        masks = None
        if self.has_masks:
            height, width = self.size(i)
            stored = (self.objects.segmentations[row] for row in range(rows.start, rows.stop))
            masks = InstanceMasks(tuple(unpack(s, height, width) for s in stored), height, width)
        return Annotations(self.objects.boxes[rows], self.objects.labels[rows], masks)

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
                    f"No {what} found for the {split} split.",
                    where=" or ".join(map(str, tried)) or "no data folder is set",
                    fix="give a folder in COCO layout as data.root (`--data DIR`), or set "
                    f"data.{split}_{key}.",
                )
            )
    raise DataError.joined(errors)


def find_data(data: Data, split: Literal["train", "val"]) -> tuple[Path, Path]:
    """Annotation file and image folder of a split of the recipe's data."""
    chosen = {
        "train": (data.train_annotations, data.train_images),
        "val": (data.val_annotations, data.val_images),
    }[split]
    annotations, images = (Path(path).expanduser() if path else None for path in chosen)
    root = Path(data.root).expanduser() if data.root else None
    return find_split(root, split, annotations, images)


def load_split(
    annotation_file: Path, image_folder: Path, *, need_masks: bool, scored: bool = False
) -> CocoSplit:
    """Read and check a whole split; every problem of it is in the one error that is raised.

    Where masks are needed, either every annotation has one or none has: `has_masks` tells which.
    A split that is `scored` keeps the ground truth that it is scored against.
    """
    lists = read_lists(annotation_file)
    boxes_alone = need_masks and _has_boxes_alone(lists["annotations"])
    masks = need_masks and not boxes_alone
    reader = CocoReader("masks" if masks else "boxes")
    categories = reader.categories(lists["categories"])
    images = reader.images(lists["images"])
    entries = reader.entries("annotation", lists["annotations"])
    rows = [_row(found) for found in reader.annotations(entries, images, categories)]
    findings = reader.findings
    findings.apply(
        "document", CocoDocument(image_folder, lists, reader.ids, images, categories, boxes_alone)
    )
    findings.refuse({"file": annotation_file, "folder": image_folder})
    return CocoSplit(
        annotation_file,
        image_folder,
        tuple(categories),
        np.array([image.id for image in images], dtype=np.int64),
        np.array([(image.height, image.width) for image in images], dtype=np.int64),
        ByteStrings.of(image.file.encode() for image in images),
        AnnotationTable.of([row for row in rows if not row.crowd], len(images)),
        AnnotationTable.of([row for row in rows if row.crowd], len(images)),
        masks,
        findings.notes(),
        GroundTruth.of(lists, masks=masks) if scored else None,
    )


def _has_boxes_alone(annotations: list[Any]) -> bool:
    """Whether there are annotations, none of them with a mask."""
    records = [record for record in annotations if isinstance(record, dict)]
    return bool(records) and all(is_absent(record.get("segmentation")) for record in records)


def _row(annotation: CocoAnnotation) -> AnnotationRow:
    """What is kept of an annotation in which no error was found."""
    box, size, image, label = annotation.box, annotation.size, annotation.image, annotation.label
    assert box is not None
    assert size is not None
    assert image is not None
    assert label is not None
    clipped = (
        max(box[0], 0.0),
        max(box[1], 0.0),
        min(box[2], float(size[1])),
        min(box[3], float(size[0])),
    )
    record = annotation.entry.record
    crowd = bool(record.get("iscrowd", 0))
    return AnnotationRow(record["id"], image, label, clipped, crowd, annotation.stored)
