"""COCO run-length encoding: column-major runs of 0, 1, 0, 1, ... that fill an image.

`counts` is a list of run lengths, or COCO's compressed text of it: each run is written as the
difference to the run two places before (from the fourth run on), in groups of five bits, least
significant first, every group plus 48 as one character; 32 marks that another group follows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Runs = NDArray[np.int64]


class Rle(TypedDict):
    """A bit map as run lengths, column by column, in COCO's compressed text form."""

    size: list[int]
    counts: str


def runs_of(counts: object, height: int, width: int) -> Runs:
    """Run lengths from either form; ValueError says what is wrong with them."""
    if isinstance(counts, str):
        runs = _from_text(counts.encode("ascii", errors="replace"))
    elif isinstance(counts, bytes):
        runs = _from_text(counts)
    elif isinstance(counts, list) and all(type(n) is int for n in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise ValueError("its counts are neither text nor a list of integers")
    if (runs < 0).any():
        raise ValueError("it has a run of negative length")
    if (total := int(runs.sum())) != height * width:
        raise ValueError(f"its runs cover {total} pixels, the image has {height * width}")
    return runs


def area_of(runs: Runs) -> int:
    """Pixels inside the mask."""
    return int(runs[1::2].sum())


def decode(runs: Runs, height: int, width: int) -> NDArray[np.bool_]:
    """The bit mask (height, width)."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def encode(mask: NDArray[np.bool_]) -> Runs:
    """Run lengths of a bit mask (height, width); the first run is outside and may be empty."""
    pixels = mask.T.ravel()
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    bounds = np.concatenate(([0], edges, [pixels.size]))
    runs = np.diff(bounds)
    return np.concatenate(([0], runs)) if pixels.size and pixels[0] else runs


def encode_counts(counts: Sequence[Sequence[int]], height: int, width: int) -> list[Rle]:
    """Run lengths of several H x W masks, zeros first, in compressed form."""
    size = [height, width]
    return _text([{"size": size, "counts": runs} for runs in counts], size) if counts else []


def to_rle(segmentation: Any, height: int, width: int) -> Rle:
    """A COCO segmentation as compressed text: polygons (united), or an RLE of any form."""
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


def _from_text(text: bytes) -> Runs:
    groups = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if groups.size == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        raise ValueError("its counts are not COCO's compressed text")
    last = np.flatnonzero((groups & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    place = np.arange(groups.size) - np.repeat(first, last - first + 1)
    if place.max() > 9:  # 50 bits: no image has longer runs, and shifts stay within 64 bits
        raise ValueError("its counts are not COCO's compressed text")
    runs: Runs = np.add.reduceat((groups & 31) << (5 * place), first)
    negative = (groups[last] & 16) != 0
    runs[negative] -= np.left_shift(1, 5 * (place[last][negative] + 1))
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
