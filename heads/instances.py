"""What goes into the head and what comes out of it, for one image.

Boxes are (n, 4) float tensors of x0, y0, x1, y1 in pixels of the network input, without padding.
Labels are class indices from 0; background is no label (it is the last logit inside the head).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class MaskSource(Protocol):
    """Ground-truth masks of one image, kept as polygons or bit maps until a box asks for them."""

    def rasterize(self, index: Tensor, boxes: Tensor, size: int) -> Tensor:
        """Masks `index` (n,) inside `boxes` (n, 4) on a grid of cells: (n, size, size) bool."""


@dataclass(frozen=True, slots=True)
class Target:
    """Ground truth of one image: boxes (n, 4), labels (n,), masks (None if the data has none)."""

    boxes: Tensor
    labels: Tensor
    masks: MaskSource | None = None

    def to(self, device: torch.device) -> "Target":
        """Boxes and labels on another device; masks stay where they are."""
        return Target(self.boxes.to(device), self.labels.to(device), self.masks)


@dataclass(frozen=True, slots=True)
class Detections:
    """Result for one image, best score first: boxes (n, 4), scores (n,), labels (n,).

    `masks` are (n, 28, 28) probabilities inside each box, or None for a box-only head.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
