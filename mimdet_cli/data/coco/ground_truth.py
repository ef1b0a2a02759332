"""What a split is scored against: read once, kept small, unpacked for every evaluation.

`COCOeval` takes dictionaries and writes into them. Kept between evaluations, they would be copied
page by page into every forked worker; one byte string is not. Polygons are kept as the run lengths
that `COCOeval` would first turn them into, so the numbers are the same.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pycocotools import mask as coco_mask

KEYS: Final = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The part of an annotation file that scoring reads."""

    packed: bytes

    @classmethod
    def of(cls, content: Mapping[str, Any], *, masks: bool) -> Self:
        """From the checked content of a file, with or without its masks."""
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        annotations = []
        for annotation in content["annotations"]:
            kept = {key: annotation[key] for key in KEYS if key in annotation}
            if masks and "segmentation" in annotation:
                size = sizes.get(annotation["image_id"])
                kept["segmentation"] = _runs(annotation["segmentation"], size)
            annotations.append(kept)
        images = [{"id": image, "height": h, "width": w} for image, (h, w) in sizes.items()]
        categories = [{key: c[key] for key in ("id", "name")} for c in content["categories"]]
        return cls(
            pickle.dumps(
                {"images": images, "categories": categories, "annotations": annotations},
                protocol=pickle.HIGHEST_PROTOCOL,
            )
        )

    def content(self) -> dict[str, Any]:
        """The lists 'images', 'categories' and 'annotations', a fresh copy at every call."""
        found: dict[str, Any] = pickle.loads(self.packed)
        return found


def _runs(segmentation: Any, size: tuple[Any, Any] | None) -> Any:
    """Polygons as compressed run lengths; anything else unchanged."""
    if size is None or not all(type(side) is int for side in size):
        return segmentation
    if not _are_polygons(segmentation):
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))


def _are_polygons(value: object) -> bool:
    """Whether `COCOeval` would read these as polygons, and can."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(ring, list)
            and len(ring) >= 6
            and len(ring) % 2 == 0
            and all(type(number) in (int, float) for number in ring)
            for ring in value
        )
    )
