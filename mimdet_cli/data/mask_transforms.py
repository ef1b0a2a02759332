"""How the masks of an image's instances follow its transforms, as polygons or as bits.

Nothing is rasterised here but `bitmap`: the head rasterises targets inside its own boxes
(`heads.mask_targets`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.instances import BitPatch, Bits, InstanceMasks, Polygons, Ring, Shape
from heads.mask_targets import fill


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels."""

    x: int
    y: int
    width: int
    height: int


def flip_horizontal(masks: InstanceMasks) -> InstanceMasks:
    """The masks of the image mirrored left to right."""
    width = masks.width

    def flipped(shape: Shape) -> Shape:
        if isinstance(shape, Polygons):
            return _affine(shape, np.array([-1.0, 1.0]), np.array([float(width), 0.0]))
        return BitPatch.of(shape.bits()[:, ::-1], width - shape.x - shape.width, shape.y)

    return _each(masks, flipped, masks.height, width)


def flip_vertical(masks: InstanceMasks) -> InstanceMasks:
    """The masks of the image mirrored top to bottom."""
    height = masks.height

    def flipped(shape: Shape) -> Shape:
        if isinstance(shape, Polygons):
            return _affine(shape, np.array([1.0, -1.0]), np.array([0.0, float(height)]))
        return BitPatch.of(shape.bits()[::-1], shape.x, height - shape.y - shape.height)

    return _each(masks, flipped, height, masks.width)


def resize(masks: InstanceMasks, height: int, width: int) -> InstanceMasks:
    """The masks of the image resized; polygons are scaled.

    Bit masks take the nearest pixel, exactly as PIL (and so detectron2) resizes the whole mask.
    """
    scale = np.array([width / masks.width, height / masks.height])

    def resized(shape: Shape) -> Shape:
        if isinstance(shape, Polygons):
            return _affine(shape, scale, np.zeros(2))
        rows, top = _nearest(shape.y, shape.height, masks.height, height)
        columns, left = _nearest(shape.x, shape.width, masks.width, width)
        return BitPatch.of(shape.bits()[np.ix_(rows, columns)], left, top)

    return _each(masks, resized, height, width)


def crop(masks: InstanceMasks, window: Window) -> InstanceMasks:
    """The masks of a cut-out of the image; rings that vanish are removed."""
    return _each(
        masks,
        lambda shape: (
            _crop_rings(shape, window)
            if isinstance(shape, Polygons)
            else _crop_patch(shape, window)
        ),
        window.height,
        window.width,
    )


def select(masks: InstanceMasks, index: Sequence[int] | NDArray[np.int64]) -> InstanceMasks:
    """The instances `index`, in that order."""
    return InstanceMasks(tuple(masks.shapes[int(i)] for i in index), masks.height, masks.width)


def visible(masks: InstanceMasks) -> NDArray[np.bool_]:
    """Which instances still show something: (n,)."""
    shown = [
        bool(shape.rings) if isinstance(shape, Polygons) else shape.width > 0
        for shape in masks.shapes
    ]
    return np.array(shown, dtype=np.bool_)


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """The box x0, y0, x1, y1 around a shape; without sides where nothing is left."""
    if isinstance(shape, BitPatch):
        x, y = float(shape.x), float(shape.y)
        return (x, y, x + shape.width, y + shape.height)
    if not shape.rings:
        return (0.0, 0.0, 0.0, 0.0)
    points = np.concatenate(shape.rings)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def bitmap(masks: InstanceMasks, i: int) -> Bits:
    """Instance `i` on the whole image: (height, width)."""
    shape = masks.shapes[i]
    if isinstance(shape, Polygons):
        return fill(shape.rings, masks.height, masks.width)
    full = np.zeros((masks.height, masks.width), dtype=np.bool_)
    full[shape.y : shape.y + shape.height, shape.x : shape.x + shape.width] = shape.bits()
    return full


def ring_area(ring: Ring) -> float:
    """Area inside a ring (k, 2), by the shoelace formula."""
    x, y = (ring - ring[:1]).T
    next_x, next_y = np.concatenate((x[1:], x[:1])), np.concatenate((y[1:], y[:1]))
    return float(abs(np.dot(x, next_y) - np.dot(y, next_x)) / 2)


def clip_ring(ring: Ring, window: Window) -> Ring:
    """The part of a ring inside a window (Sutherland and Hodgman 1974): one edge after the other.

    A concave ring that leaves the window and comes back stays one ring, whose parts are joined by
    strips of no width along the window's edge; detectron2 (shapely) returns them as several rings.
    The area and the pixels inside are the same.
    """
    sides = ((0, window.x, window.x + window.width), (1, window.y, window.y + window.height))
    for axis, low, high in sides:
        ring = _clip_half_plane(ring, axis, low, 1)
        ring = _clip_half_plane(ring, axis, high, -1)
    return ring


def _each(
    masks: InstanceMasks, change: Callable[[Shape], Shape], height: int, width: int
) -> InstanceMasks:
    return InstanceMasks(tuple(change(shape) for shape in masks.shapes), height, width)


def _affine(shape: Polygons, factor: Ring, offset: Ring) -> Polygons:
    return Polygons(tuple(ring * factor + offset for ring in shape.rings))


def _crop_rings(shape: Polygons, window: Window) -> Polygons:
    clipped = (clip_ring(ring, window) for ring in shape.rings)
    corner = np.array([window.x, window.y], dtype=np.float64)
    return Polygons(
        tuple(ring - corner for ring in clipped if len(ring) >= 3 and ring_area(ring) > 0)
    )


def _crop_patch(shape: BitPatch, window: Window) -> BitPatch:
    left, top = max(shape.x, window.x), max(shape.y, window.y)
    right = max(left, min(shape.x + shape.width, window.x + window.width))
    bottom = max(top, min(shape.y + shape.height, window.y + window.height))
    inside = shape.bits()[top - shape.y : bottom - shape.y, left - shape.x : right - shape.x]
    return BitPatch.of(inside, left - window.x, top - window.y)


def _clip_half_plane(ring: Ring, axis: int, bound: int, sign: int) -> Ring:
    """Keep the side where `sign * (coordinate - bound)` is not negative."""
    depth = sign * (ring[:, axis] - bound)
    inside = depth >= 0
    if inside.all():
        return ring
    following = np.roll(ring, -1, axis=0)
    crosses = inside != np.roll(inside, -1)
    step = np.where(crosses, depth - np.roll(depth, -1), 1.0)
    met = ring + (depth / step)[:, None] * (following - ring)
    met[:, axis] = bound
    candidates = np.stack((ring, met), axis=1).reshape(-1, 2)  # corner, crossing, corner, ...
    return candidates[np.stack((inside, crosses), axis=1).ravel()]


def _nearest(start: int, length: int, old: int, new: int) -> tuple[NDArray[np.int64], int]:
    """Which of a patch's rows the new image repeats, and where the first of them lands."""
    # PIL adds the step up, and its rounding decides the ties
    steps = np.full(new, old / new)
    steps[0] /= 2
    source = np.cumsum(steps).astype(np.int64)
    first, last = np.searchsorted(source, (start, start + length))
    return source[first:last] - start, int(first)
