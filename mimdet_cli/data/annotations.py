"""What is annotated in one image: boxes, labels and masks, which go through transforms together."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from heads.instances import InstanceMasks
from mimdet_cli.data import mask_transforms
from mimdet_cli.data.mask_transforms import Window

SMALLEST_SIDE = 1e-5


@dataclass(frozen=True, slots=True)
class Category:
    """One class of the data: its id in the annotation file and its name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Annotations:
    """Boxes (n, 4) x0, y0, x1, y1 in pixels, labels (n,) from 0, masks or None."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    masks: InstanceMasks | None

    def __len__(self) -> int:
        return len(self.labels)

    def flip_horizontal(self, width: int) -> Self:
        """The annotations of the image mirrored left to right."""
        boxes = self.boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0)
        moved = None if self.masks is None else mask_transforms.flip_horizontal(self.masks)
        return replace(self, boxes=boxes, masks=moved)

    def flip_vertical(self, height: int) -> Self:
        """The annotations of the image mirrored top to bottom."""
        boxes = self.boxes[:, [0, 3, 2, 1]] * (1, -1, 1, -1) + (0, height, 0, height)
        moved = None if self.masks is None else mask_transforms.flip_vertical(self.masks)
        return replace(self, boxes=boxes, masks=moved)

    def resize(self, old: tuple[int, int], new: tuple[int, int]) -> Self:
        """From an image of `old` to one of `new` (height, width)."""
        scale_y, scale_x = new[0] / old[0], new[1] / old[1]
        boxes = self.boxes * (scale_x, scale_y, scale_x, scale_y)
        resized = None if self.masks is None else mask_transforms.resize(self.masks, *new)
        return replace(self, boxes=boxes, masks=resized)

    def crop(self, window: Window) -> Self:
        """What a cut-out shows; boxes are clipped, not recomputed from the cropped masks."""
        corner = np.array([window.x, window.y] * 2)
        limit = np.array([window.width, window.height] * 2)
        boxes = np.clip(self.boxes - corner, 0, limit)
        cropped = None if self.masks is None else mask_transforms.crop(self.masks, window)
        return replace(self, boxes=boxes, masks=cropped)

    def boxes_around_masks(self) -> Self:
        """With each box recomputed from what is left of its mask; unchanged without masks."""
        if self.masks is None or not len(self):
            return self
        return replace(self, boxes=np.array([mask_transforms.bounds(s) for s in self.masks.shapes]))

    def visible(self) -> Self:
        """Only the instances whose box has an area and whose mask is not empty."""
        keep = (self.boxes[:, 2:] - self.boxes[:, :2] > SMALLEST_SIDE).all(axis=1)
        if self.masks is not None:
            keep &= mask_transforms.visible(self.masks)
        if keep.all():
            return self
        index = np.flatnonzero(keep)
        kept = None if self.masks is None else mask_transforms.select(self.masks, index)
        return type(self)(self.boxes[index], self.labels[index], kept)
