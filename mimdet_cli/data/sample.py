"""One image on its way to the network, and the classes it may show."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from heads.instances import Target


@dataclass(frozen=True, slots=True)
class Category:
    """One class of the data: its id in the annotation file and its name."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, resized for the network, with its ground truth in the same pixels.

    `image` is (3, h, w) uint8 RGB, not padded, not normalised. `original_size` is the
    (height, width) that detections are scaled back to. `target` is None in evaluation.
    """

    image: Tensor
    image_id: int
    original_size: tuple[int, int]
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that one forward pass sees; padding and normalisation are the detector's."""

    samples: Sequence[Sample]
