"""One picture of the embedded data set: shapes that hide each other, on a cluttered background.

The class is the shape; colours are random and mean nothing. A later object lies on top,
and what it hides is not part of the mask below.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from heads.mask_targets import fill

CLASSES = ("circle", "rectangle", "triangle")
SMALLEST, LARGEST, SMALLEST_SEEN = 18, 96, 16  # pixels, longer side
LEAST_VISIBLE = 0.4
OVERLAPPING = 0.3
FINE = 4  # sub-pixels per pixel side, for smooth edges

Outline = NDArray[np.float64]
Bits = NDArray[np.bool_]
Background = Literal["gradient", "stripes", "blobs", "checks"]
BACKGROUNDS: tuple[Background, ...] = ("gradient", "stripes", "blobs", "checks")


@dataclass(slots=True)
class Thing:
    """One object: label, corners (k, 2), the bits of all of it and of what is still seen."""

    label: int
    outline: Outline
    whole: Bits
    seen: Bits

    @property
    def is_covered(self) -> bool:
        """Whether another object hides some of it."""
        return bool((self.whole & ~self.seen).any())


@dataclass(frozen=True, slots=True)
class Scene:
    """Pixels (size, size, 3), its objects from the lowest to the topmost, and a crowd region."""

    pixels: NDArray[np.uint8]
    things: list[Thing]
    crowd: Bits | None = None


def random_scene(size: int, rng: np.random.Generator, *, empty: bool = False) -> Scene:
    """A scene of 2 to 8 objects, or of background only."""
    pixels = background(size, rng)
    things = [] if empty else place_things(size, rng)
    for thing in things:
        paint(pixels, thing.outline, rng)
    return Scene(finish(pixels, rng), things)


def random_crowd(size: int, rng: np.random.Generator) -> Scene:
    """A scene whose lower quarter is a heap of small circles, annotated as one region."""
    pixels = background(size, rng)
    things: list[Thing] = []
    while len(things) < 2:
        things = [t for t in place_things(size, rng) if t.outline[:, 1].max() < 0.65 * size]
    for thing in things:
        paint(pixels, thing.outline, rng)
    region = np.zeros((size, size), dtype=np.bool_)
    for _ in range(30):
        centre = rng.uniform((7.0, 0.75 * size), (size - 7.0, size - 7.0))
        outline = outline_of(0, 12.0, rng) + centre
        paint(pixels, outline, rng)
        region |= fill([outline], size, size)
    return Scene(finish(pixels, rng), things, region)


def place_things(size: int, rng: np.random.Generator) -> list[Thing]:
    """2 to 8 objects, one on top of the other, each with at least 40 % of itself in sight.

    Nearly a third of them are laid onto another on purpose; the rest look for a free place and
    shrink until they find one.
    """
    things: list[Thing] = []
    wanted = int(rng.integers(2, 8, endpoint=True))
    while len(things) < wanted:
        overlap = bool(things) and rng.random() < OVERLAPPING
        label = int(rng.integers(len(CLASSES)))
        for attempt in range(40):
            largest = max(min(LARGEST, 0.6 * size) * 0.96**attempt, SMALLEST + 2)
            side = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest))))
            if _try(things, _thing(label, side, size, rng), overlap):
                break
    return things


def outline_of(label: int, side: float, rng: np.random.Generator) -> Outline:
    """Corners (k, 2) of a shape around the origin whose longer extent is `side`."""
    if CLASSES[label] == "circle":
        angle = np.arange(36) * (2 * np.pi / 36)
        corners = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    elif CLASSES[label] == "rectangle":
        half = rng.uniform(0.6, 1.0)
        corners = np.array([(-1.0, -half), (1.0, -half), (1.0, half), (-1.0, half)])
        corners = corners[:, ::-1] if rng.random() < 0.5 else corners
    else:
        corners = np.array([(0.0, -1.0), (0.87, 0.75), (-0.87, 0.75)])
    turn = 0.0 if CLASSES[label] == "circle" else rng.uniform(-0.4, 0.4)
    cosine, sine = np.cos(turn), np.sin(turn)
    corners = corners @ np.array([[cosine, sine], [-sine, cosine]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    corners = (corners - (low + high) / 2) * (side / (high - low).max())
    return np.asarray(corners, dtype=np.float64)


def background(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A textured ground (size, size, 3) on the 0-255 scale."""
    first, second = rng.uniform(20, 235, (2, 3))
    second = first + 0.5 * (second - first)  # softer than the objects' contrast
    y, x = np.mgrid[:size, :size] / size
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    waves = rng.uniform(20, 60)
    kind = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    if kind == "gradient":
        mix = (along - along.min()) / np.ptp(along)
    elif kind == "stripes":
        mix = 0.5 + 0.5 * np.sin(waves * along)
    elif kind == "checks":
        mix = 0.5 + 0.5 * np.sin(waves * along) * np.sin(waves * across)
    else:
        cells = int(rng.integers(4, 12))
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
        mix = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) / 255.0
    ground: NDArray[np.float64] = first + mix[..., None] * (second - first)
    return ground


def paint(pixels: NDArray[np.float64], outline: Outline, rng: np.random.Generator) -> None:
    """Fill an outline in place with a random colour, shaded, with smooth edges."""
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int)
    width, height = int(right - left), int(bottom - top)
    canvas = Image.new("L", (width * FINE, height * FINE))
    corners = (outline - (left, top)) * FINE - 0.5  # PIL's corners are pixel centres
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    cover = np.asarray(canvas.reduce(FINE), dtype=np.float64)[..., None] / 255
    under = pixels[top:bottom, left:right]
    colours = rng.uniform(0, 255, (16, 3))
    distances = np.abs(colours - under.mean(axis=(0, 1))).sum(axis=1)
    colour = colours[int(np.argmax(distances > 180))]  # the first that stands out
    shade = 1 + np.linspace(-1, 1, height)[:, None, None] * rng.uniform(-0.2, 0.2)
    under += cover * (colour * shade - under)


def finish(pixels: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Sensor noise, and 8 bits."""
    noisy = pixels + rng.normal(0, rng.uniform(2, 10), pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _thing(label: int, side: float, size: int, rng: np.random.Generator) -> Thing:
    outline = outline_of(label, side, rng)
    reach = -outline.min(axis=0)
    room = np.maximum(size - np.ptp(outline, axis=0), 0)
    outline = np.round(outline + reach + rng.uniform(0, 1, 2) * room, 2)
    whole = fill([outline], size, size)
    return Thing(label, outline, whole, whole)


def _try(things: list[Thing], thing: Thing, overlap: bool) -> bool:
    """Put the thing on top if the place is as wanted and nothing below is hidden too much."""
    touched = [below for below in things if (below.seen & thing.whole).any()]
    if bool(touched) != overlap:
        return False
    left = [below.seen & ~thing.whole for below in touched]
    for below, bits in zip(touched, left, strict=True):
        if bits.sum() < LEAST_VISIBLE * below.whole.sum() or _longest(bits) < SMALLEST_SEEN:
            return False
    for below, bits in zip(touched, left, strict=True):
        below.seen = bits
    things.append(thing)
    return True


def _longest(bits: Bits) -> int:
    """The longer side of the box around the bits."""
    extents = [np.flatnonzero(bits.any(axis=axis)) for axis in (0, 1)]
    return max(int(e[-1] - e[0]) + 1 if len(e) else 0 for e in extents)
