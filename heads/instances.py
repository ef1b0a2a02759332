"""What goes into the head and what comes out of it, for one image.

Boxes are (n, 4) float tensors of x0, y0, x1, y1 in pixels of the network input, without padding.
Labels are class indices from 0; background is not a label (it is the last logit inside the head).
Mask coordinates are pixels too, x to the right, y down; pixel (0, 0) covers the unit square at the
origin.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ring = NDArray[np.float64]
Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Polygons:
    """The union of closed rings, each (k, 2) corners of x and y."""

    rings: tuple[Ring, ...]


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
        """From a bit mask whose upper left pixel lies at (x, y); empty borders are cropped."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(np.zeros(0, np.uint8), 0, 0, 0, 0)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        packed = np.packbits(mask[top:bottom, left:right])
        return cls(packed, x + int(left), y + int(top), int(right - left), int(bottom - top))

    def bits(self) -> Bits:
        """The bounding box's pixels (height, width)."""
        flat = np.unpackbits(self.packed, count=self.height * self.width)
        return flat.reshape(self.height, self.width).view(np.bool_)


Shape = Polygons | BitPatch


@dataclass(frozen=True, slots=True)
class InstanceMasks:
    """One shape per instance, in an image of `height` x `width` pixels.

    Plain arrays on the CPU, and small ones: a polygon is its corners, a bit mask the packed bits of
    its bounding box. `heads.mask_targets` rasterises them inside the boxes that the head samples.
    """

    shapes: tuple[Shape, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True, slots=True)
class Target:
    """Ground truth of one image: boxes (n, 4), labels (n,), and masks (None for boxes alone)."""

    boxes: Tensor
    labels: Tensor
    masks: InstanceMasks | None = None

    def to(self, device: torch.device) -> Self:
        """The same with boxes and labels on `device`; masks stay on the CPU."""
        return replace(self, boxes=self.boxes.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Detections:
    """Result for one image, best score first: boxes (n, 4), scores (n,), labels (n,).

    `masks` are (n, 28, 28) probabilities inside each box, or None for a box-only head.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
