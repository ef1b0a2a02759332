"""What is checked in a COCO file: one table of rules, each for some purposes of reading a file.

A new check is one entry here and the function that finds its cases. A rule's `subject` says what
it checks: "entry" (`CocoEntry`), "image" (`ImageRow`), "annotation" (`CocoAnnotation`: an
annotation, or an entry of a results file) or "document" (`CocoDocument`). A record that fails a
rule for entries is not checked any further.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from mimdet_cli.data.coco.findings import Rule
from mimdet_cli.data.coco.json_file import describe
from mimdet_cli.data.coco.records import (
    CocoAnnotation,
    CocoDocument,
    CocoEntry,
    ImageRow,
    Purpose,
)
from mimdet_cli.data.coco.segmentations import is_absent, unscorable

MASKS: Final = frozenset({"masks"})
SPLITS: Final = frozenset({"boxes", "masks"})
RESULTS: Final = frozenset({"results"})
EVERYWHERE: Final = frozenset({"boxes", "masks", "scoring", "results", "classes"})


def not_an_object(entry: CocoEntry) -> Sequence[str]:
    """Records that are not objects."""
    if isinstance(entry.record, dict):
        return ()
    return (f"{entry.name} is {describe(entry.record)}",)


def missing_keys(entry: CocoEntry) -> Sequence[str]:
    """Required keys that are missing."""
    record = entry.record
    if not isinstance(record, dict) or entry.keys.keys() <= record.keys():
        return ()
    return [f"{entry.name} has no '{key}'" for key in entry.keys if key not in record]


def wrong_values(entry: CocoEntry) -> Sequence[str]:
    """Values of another type than they should have."""
    record = entry.record
    if not isinstance(record, dict):
        return ()
    wrong = [
        key
        for key, types in entry.keys.items()
        if types and key in record and type(record[key]) not in types
    ]
    return [f"{entry.name} has {key} {describe(record[key])}" for key in wrong]


def repeated_ids(document: CocoDocument) -> Sequence[str]:
    """Ids that several records of a list have."""
    return [
        f"{kind} {repeated}"
        for kind, ids in document.ids.items()
        if len(set(ids)) < len(ids)
        for repeated, count in Counter(ids).items()
        if count > 1
    ]


def without_pixels(image: ImageRow) -> Sequence[str]:
    """An image with a side below 1."""
    if image.height > 0 and image.width > 0:
        return ()
    return (f"image {image.id} is {image.width} x {image.height} pixels",)


def unknown_image(annotation: CocoAnnotation) -> Sequence[str]:
    """An image_id that is not in 'images'."""
    if annotation.image is not None:
        return ()
    return (f"{annotation.entry.name} has image_id {annotation.entry.record['image_id']}",)


def unknown_category(annotation: CocoAnnotation) -> Sequence[str]:
    """A category_id that is not in 'categories'."""
    if annotation.label is not None:
        return ()
    return (f"{annotation.entry.name} has category_id {annotation.entry.record['category_id']}",)


def bad_box(annotation: CocoAnnotation) -> Sequence[str]:
    """A box that is not one."""
    entry = annotation.entry
    if annotation.box is not None or "bbox" not in entry.record:
        return ()
    return (f"{entry.name} has {describe(entry.record['bbox'])}",)


def unbounded_score(annotation: CocoAnnotation) -> Sequence[str]:
    """A score that is infinite or not a number."""
    score = annotation.entry.record["score"]
    return () if abs(score) < float("inf") else (f"{annotation.entry.name} has score {score}",)


def unreadable_mask(annotation: CocoAnnotation) -> Sequence[str]:
    """A segmentation that is neither polygons nor runs of the image's size."""
    if not annotation.unreadable:
        return ()
    return (f"{annotation.entry.name}: {annotation.unreadable}",)


def unscorable_mask(annotation: CocoAnnotation) -> Sequence[str]:
    """A segmentation that pycocotools cannot read."""
    segmentation = annotation.entry.record.get("segmentation")
    reason = "" if is_absent(segmentation) else unscorable(segmentation)
    return (f"{annotation.entry.name}: {reason}",) if reason else ()


def empty_mask(annotation: CocoAnnotation) -> Sequence[str]:
    """A result whose segmentation holds nothing."""
    record = annotation.entry.record
    if "segmentation" in record and is_absent(record["segmentation"]):
        return (annotation.entry.name,)
    return ()


def no_mask(annotation: CocoAnnotation) -> Sequence[str]:
    """An object without a segmentation; a crowd region is not a target and may lack one."""
    record = annotation.entry.record
    if is_absent(record.get("segmentation")) and not record.get("iscrowd", 0):
        return (annotation.entry.name,)
    return ()


def without_area(annotation: CocoAnnotation) -> Sequence[str]:
    """A side of 0, or a mask without pixels.

    The stated 'area' is not used: converters that do not know it write 0.
    """
    box = annotation.box
    if box is None or (box[0] < box[2] and box[1] < box[3] and annotation.area):
        return ()
    return (annotation.entry.name,)


def outside(annotation: CocoAnnotation) -> Sequence[str]:
    """A box that lies wholly outside its image."""
    box, size = annotation.box, annotation.size
    if box is None or size is None:
        return ()
    if box[0] < size[1] and box[1] < size[0] and box[2] > 0 and box[3] > 0:
        return ()
    return (annotation.entry.name,)


def masks_missing(document: CocoDocument) -> Sequence[str]:
    """Masks that were asked for where no annotation has one."""
    return ("all",) if document.boxes_alone else ()


def missing_files(document: CocoDocument) -> Sequence[str]:
    """Image files that do not exist; the folder is listed once instead of asking for each file."""
    folder = document.folder
    if folder is None:
        return ()
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return [
        image.file
        for image in document.images
        if image.file not in present and not (folder / image.file).is_file()
    ]


def empty_lists(document: CocoDocument) -> Sequence[str]:
    """Required lists that are empty."""
    return [f"'{name}'" for name in ("images", "categories") if not document.lists[name]]


RULES: Final = (
    Rule(
        "not-an-object",
        "entry",
        EVERYWHERE,
        not_an_object,
        "Records that are not objects ({count}): {cases}.",
        "make every record an object, { ... }.",
    ),
    Rule(
        "missing-key",
        "entry",
        EVERYWHERE,
        missing_keys,
        "Records that lack a required key ({count}): {cases}.",
        "add the key.",
    ),
    Rule(
        "wrong-value",
        "entry",
        EVERYWHERE,
        wrong_values,
        "Records with a value of the wrong type ({count}): {cases}.",
        "correct the value.",
    ),
    Rule(
        "image-size",
        "image",
        SPLITS,
        without_pixels,
        "Images without pixels ({count}): {cases}.",
        "correct 'height' and 'width'.",
    ),
    Rule(
        "repeated-id",
        "document",
        SPLITS | {"classes"},
        repeated_ids,
        "Ids used more than once ({count}): {cases}.",
        "give every record a unique id.",
    ),
    Rule(
        "unknown-image",
        "annotation",
        SPLITS | RESULTS,
        unknown_image,
        "Records whose image_id is not in 'images' ({count}): {cases}.",
        "correct 'image_id', or add the image.",
    ),
    Rule(
        "unknown-category",
        "annotation",
        SPLITS | RESULTS,
        unknown_category,
        "Records whose category_id is not in 'categories' ({count}): {cases}.",
        "correct 'category_id', or add the category.",
    ),
    Rule(
        "score",
        "annotation",
        RESULTS,
        unbounded_score,
        "Scores that are not finite numbers ({count}): {cases}.",
        "correct 'score'.",
    ),
    Rule(
        "box",
        "annotation",
        SPLITS | RESULTS | {"scoring"},
        bad_box,
        "Boxes that are not [x, y, width, height] with finite numbers and sides of 0 or more "
        "({count}): {cases}.",
        "correct 'bbox'; is it [x0, y0, x1, y1]?",
    ),
    Rule(
        "segmentation",
        "annotation",
        MASKS | RESULTS,
        unreadable_mask,
        "Segmentations that cannot be read ({count}): {cases}.",
        "correct 'segmentation', or remove the records.",
    ),
    Rule(
        "unscorable-segmentation",
        "annotation",
        frozenset({"scoring"}),
        unscorable_mask,
        "Segmentations that cannot be read ({count}): {cases}.",
        "correct 'segmentation', or remove the key.",
    ),
    Rule(
        "empty-segmentation",
        "annotation",
        RESULTS,
        empty_mask,
        "Empty segmentations ({count}): {cases}.",
        "give every result a mask, or none.",
    ),
    Rule(
        "no-mask",
        "annotation",
        MASKS,
        no_mask,
        "Annotations with a box but no segmentation ({count}): {cases}.",
        "set head.mask=false to train boxes only, or add the masks.",
    ),
    Rule(
        "missing-file",
        "document",
        SPLITS,
        missing_files,
        "Image files missing from the image folder ({count}): {cases}.",
        "add the files, or correct 'file_name' or the folder.",
        place="folder",
    ),
    Rule(
        "empty-list",
        "document",
        SPLITS,
        empty_lists,
        "Empty lists ({count}): {cases}.",
        "fill the list, or give another annotation file.",
    ),
    Rule(
        "boxes-alone",
        "document",
        SPLITS,
        masks_missing,
        "no annotation has a mask; only boxes are used.",
        "add the masks, or set head.mask=false.",
        severity="note",
    ),
    Rule(
        "no-area",
        "annotation",
        SPLITS,
        without_area,
        "annotations dropped because they have no area ({count}): {cases}.",
        "remove them, or correct 'bbox' and 'segmentation'.",
        severity="dropped",
    ),
    Rule(
        "outside",
        "annotation",
        SPLITS,
        outside,
        "annotations dropped because they lie outside their image ({count}): {cases}.",
        "remove them, or correct 'bbox'.",
        severity="dropped",
    ),
)


def rules_for(purpose: Purpose) -> tuple[Rule, ...]:
    """The rules of a purpose, in the order of the table."""
    return tuple(rule for rule in RULES if purpose in rule.purposes)
