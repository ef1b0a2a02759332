"""The ground truth of one image as numbers: boxes, labels and masks that move together."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from heads.instances import Target
from mimdet_cli.data.mask_shapes import Window
from mimdet_cli.data.masks import InstanceMasks

SMALLEST_SIDE = 1e-5


@dataclass(frozen=True, slots=True)
class Truth:
    """Boxes (n, 4) x0, y0, x1, y1 in pixels, labels (n,) from 0, masks or None."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    masks: InstanceMasks | None

    def __len__(self) -> int:
        return len(self.labels)

    def flip_horizontal(self, width: int) -> Self:
        """The truth of the image mirrored left to right."""
        boxes = self.boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (width, 0, width, 0)
        masks = None if self.masks is None else self.masks.flip_horizontal()
        return replace(self, boxes=boxes, masks=masks)

    def flip_vertical(self, height: int) -> Self:
        """The truth of the image mirrored top to bottom."""
        boxes = self.boxes[:, [0, 3, 2, 1]] * (1, -1, 1, -1) + (0, height, 0, height)
        masks = None if self.masks is None else self.masks.flip_vertical()
        return replace(self, boxes=boxes, masks=masks)

    def resize(self, old: tuple[int, int], new: tuple[int, int]) -> Self:
        """From an image of `old` to one of `new` (height, width)."""
        scale_y, scale_x = new[0] / old[0], new[1] / old[1]
        boxes = self.boxes * (scale_x, scale_y, scale_x, scale_y)
        masks = None if self.masks is None else self.masks.resize(*new)
        return replace(self, boxes=boxes, masks=masks)

    def crop(self, window: Window) -> Self:
        """What a cut-out shows; boxes are clipped, not drawn anew around the cropped masks."""
        corner = np.array([window.x, window.y] * 2)
        limit = np.array([window.width, window.height] * 2)
        boxes = np.clip(self.boxes - corner, 0, limit)
        masks = None if self.masks is None else self.masks.crop(window)
        return replace(self, boxes=boxes, masks=masks)

    def around_masks(self) -> Self:
        """Boxes drawn anew around what is left of each mask; as they are where there are none."""
        if self.masks is None or not len(self):
            return self
        return replace(self, boxes=np.array([shape.bounds() for shape in self.masks.shapes]))

    def visible(self) -> Self:
        """Only the instances whose box has two sides and whose mask is not gone."""
        keep = (self.boxes[:, 2:] - self.boxes[:, :2] > SMALLEST_SIDE).all(axis=1)
        if self.masks is not None:
            keep &= self.masks.not_empty()
        if keep.all():
            return self
        index = np.flatnonzero(keep)
        masks = None if self.masks is None else self.masks.select(index)
        return type(self)(self.boxes[index], self.labels[index], masks)

    def target(self) -> Target:
        """The same for the head, as tensors."""
        boxes = torch.from_numpy(self.boxes.astype(np.float32))
        return Target(boxes, torch.from_numpy(self.labels.astype(np.int64)), self.masks)
