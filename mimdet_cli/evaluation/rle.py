"""COCO's compressed RLE: encode any segmentation, decode to a bitmap."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mimdet_cli.data.rle import decode, runs_of


class Rle(TypedDict):
    """A bitmap as column-major run lengths, in COCO's compressed text format."""

    size: list[int]
    counts: str


def encode_counts(counts: Sequence[Sequence[int]], height: int, width: int) -> list[Rle]:
    """Compress the run lengths, zeros first, of several H x W masks."""
    size = [height, width]
    return _text([{"size": size, "counts": runs} for runs in counts], size) if counts else []


def to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """Compress a COCO segmentation: the union of its polygons, or an RLE of any kind."""
    size = [height, width]
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        if isinstance(counts, str):
            return {"size": size, "counts": counts}
        return encode_counts([counts], height, width)[0]
    united = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return {"size": size, "counts": _decoded(united["counts"])}


def to_bitmap(rle: Rle) -> NDArray[np.bool_]:
    """The mask as (H, W) booleans."""
    height, width = rle["size"]
    return decode(runs_of(rle["counts"], height, width), height, width)


def _text(objects: Any, size: list[int]) -> list[Rle]:
    encoded: Any = coco_mask.frPyObjects(objects, *size)
    return [{"size": size, "counts": _decoded(rle["counts"])} for rle in encoded]


def _decoded(counts: Any) -> str:
    return counts.decode("ascii")
