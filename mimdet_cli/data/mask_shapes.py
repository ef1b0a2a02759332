"""One instance's outline, as polygons or as bits, and how it follows the image's transforms.

Coordinates are pixels of the current image, x to the right, y down; pixel (0, 0) covers the unit
square at the origin. Both kinds are small: a polygon is its corners, a bit mask is the packed bits
of its bounding box only, so that thousands fit into a worker and cross to another process cheaply.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Polygons:
    """The union of closed rings, each (k, 2) corners of x and y."""

    rings: tuple[Ring, ...]

    def is_empty(self) -> bool:
        """Whether no ring is left."""
        return not self.rings

    def flip_horizontal(self, width: int) -> Self:
        """Left becomes right in an image of this width."""
        return self._map(np.array([-1.0, 1.0]), np.array([float(width), 0.0]))

    def flip_vertical(self, height: int) -> Self:
        """Top becomes bottom in an image of this height."""
        return self._map(np.array([1.0, -1.0]), np.array([0.0, float(height)]))

    def resize(self, old: tuple[int, int], new: tuple[int, int]) -> Self:
        """From an image of `old` to one of `new` (height, width)."""
        return self._map(np.array([new[1] / old[1], new[0] / old[0]]), np.zeros(2))

    def crop(self, window: Window) -> Self:
        """What lies inside the window; rings that vanish are left out."""
        clipped = (clip_ring(ring, window) for ring in self.rings)
        corner = np.array([window.x, window.y], dtype=np.float64)
        return type(self)(
            tuple(ring - corner for ring in clipped if len(ring) >= 3 and ring_area(ring) > 0)
        )

    def bounds(self) -> tuple[float, float, float, float]:
        """The box x0, y0, x1, y1 around all rings; without sides where nothing is left."""
        if self.is_empty():
            return (0.0, 0.0, 0.0, 0.0)
        points = np.concatenate(self.rings)
        return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())

    def _map(self, factor: Ring, offset: Ring) -> Self:
        return type(self)(tuple(ring * factor + offset for ring in self.rings))


@dataclass(frozen=True, slots=True)
class BitPatch:
    """A bit mask's bounding box at (x, y): `packed` holds height x width bits row by row."""

    packed: NDArray[np.uint8]
    x: int
    y: int
    width: int
    height: int

    @classmethod
    def of(cls, mask: Bits, x: int = 0, y: int = 0) -> Self:
        """From a bit mask whose upper left pixel lies at (x, y); empty borders are cut away."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(np.zeros(0, np.uint8), 0, 0, 0, 0)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        packed = np.packbits(mask[top:bottom, left:right])
        return cls(packed, x + int(left), y + int(top), int(right - left), int(bottom - top))

    def bits(self) -> Bits:
        """The bounding box's pixels (height, width)."""
        count = self.height * self.width
        flat = np.unpackbits(self.packed, count=count)
        return flat.reshape(self.height, self.width).view(np.bool_)

    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return self.width == 0

    def bounds(self) -> tuple[float, float, float, float]:
        """The box x0, y0, x1, y1 around the set pixels; without sides where there is none."""
        x, y = float(self.x), float(self.y)
        return (x, y, x + self.width, y + self.height)

    def flip_horizontal(self, width: int) -> Self:
        """Left becomes right in an image of this width."""
        return type(self).of(self.bits()[:, ::-1], width - self.x - self.width, self.y)

    def flip_vertical(self, height: int) -> Self:
        """Top becomes bottom in an image of this height."""
        return type(self).of(self.bits()[::-1], self.x, height - self.y - self.height)

    def resize(self, old: tuple[int, int], new: tuple[int, int]) -> Self:
        """Nearest neighbour, pixel for pixel as PIL (and so detectron2) resizes the whole mask."""
        rows, top = _nearest(self.y, self.height, old[0], new[0])
        columns, left = _nearest(self.x, self.width, old[1], new[1])
        return type(self).of(self.bits()[np.ix_(rows, columns)], left, top)

    def crop(self, window: Window) -> Self:
        """What lies inside the window."""
        left, top = max(self.x, window.x), max(self.y, window.y)
        right = max(left, min(self.x + self.width, window.x + window.width))
        bottom = max(top, min(self.y + self.height, window.y + window.height))
        inside = self.bits()[top - self.y : bottom - self.y, left - self.x : right - self.x]
        return type(self).of(inside, left - window.x, top - window.y)


Shape = Polygons | BitPatch


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
