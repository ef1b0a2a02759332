"""COCO's `segmentation` value: checked once, stored as bytes, turned into a shape on use.

A list of polygons [x0, y0, x1, y1, ...], or a run-length encoding {"size": [h, w], "counts": ...}
whose counts are numbers or compressed text.
"""

import math

import numpy as np

from heads.instances import BitPatch, Polygons, Shape
from mimdet_cli.data.coco import rle
from mimdet_cli.data.mask_transforms import ring_area
from mimdet_cli.words import counted

POLYGONS, RUNS = b"P", b"R"
NUMBERS = {int, float}
"""Types of a coordinate; a bool is not one."""
NEITHER = "it is neither polygons nor a run-length encoding"


def pack(segmentation: object, height: int, width: int) -> tuple[bytes, float]:
    """The stored form and the area in square pixels; ValueError says what is wrong."""
    if isinstance(segmentation, dict):
        return _pack_runs(segmentation, height, width)
    if isinstance(segmentation, list):
        return _pack_polygons(segmentation)
    raise ValueError(NEITHER)


def unscorable(segmentation: object) -> str:
    """Why pycocotools cannot read it, empty if it can; it tolerates more than `pack`.

    Polygons of an odd count, short ones after the first, and run lengths of another size than the
    image's are scored; run lengths that do not fill their own size would never end.
    """
    if isinstance(segmentation, dict):
        return _unscorable_runs(segmentation)
    if not isinstance(segmentation, list):
        return NEITHER
    for polygon in segmentation:
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= NUMBERS:
            return "a polygon is not a list of numbers"
        if not all(map(math.isfinite, polygon)):
            return "a polygon has a number that is not finite"
    if segmentation and len(segmentation[0]) < 5:
        return f"the first polygon has {counted(len(segmentation[0]), 'number')}, not 5 or more"
    return ""


def unpack(stored: bytes, height: int, width: int) -> Shape:
    """The shape that `pack` stored, in an image of height x width."""
    body = stored[1:]
    if stored[:1] == RUNS:
        runs = np.frombuffer(body, dtype=np.int32)
        return BitPatch.of(rle.decode(runs.astype(np.int64), height, width))
    numbers = np.frombuffer(body, dtype=np.float64)
    count = int(numbers[0])
    corners = numbers[count + 1 :].reshape(-1, 2)
    ends = np.cumsum(numbers[1:count]).astype(np.int64)
    return Polygons(tuple(np.split(corners, ends)))


def is_absent(segmentation: object) -> bool:
    """Whether the annotation is a box only: no key, null, nothing, or polygons without a number."""
    if isinstance(segmentation, list):
        return all(polygon == [] for polygon in segmentation)
    return segmentation is None or segmentation == {}


def _pack_runs(segmentation: dict[object, object], height: int, width: int) -> tuple[bytes, float]:
    size = segmentation.get("size")
    if size != [height, width]:
        raise ValueError(f"its size is {size}, but the image's is [{height}, {width}]")
    runs = rle.runs_of(segmentation.get("counts"), height, width)
    return RUNS + runs.astype(np.int32).tobytes(), float(rle.area_of(runs))


def _unscorable_runs(segmentation: dict[object, object]) -> str:
    size = segmentation.get("size")
    if not isinstance(size, list) or [type(side) for side in size] != [int, int] or min(size) < 0:
        return f"its size is {size}, not [height, width]"
    try:
        rle.runs_of(segmentation.get("counts"), *size)
    except ValueError as error:
        return str(error).replace("the image has", "its size has")
    return ""


def _pack_polygons(polygons: list[object]) -> tuple[bytes, float]:
    rings = [_ring(polygon) for polygon in polygons]
    head = np.array([len(rings), *map(len, rings)], dtype=np.float64)
    body = np.concatenate([head, *(ring.ravel() for ring in rings)])
    return POLYGONS + body.tobytes(), sum(map(ring_area, rings))


def _ring(polygon: object) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= NUMBERS:
        raise ValueError("a polygon is not a list of numbers")
    if len(polygon) % 2 or len(polygon) < 6:
        raise ValueError(f"a polygon has {len(polygon)} numbers, not an even number of at least 6")
    if not all(map(math.isfinite, polygon)):
        raise ValueError("a polygon has a number that is not finite")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)
