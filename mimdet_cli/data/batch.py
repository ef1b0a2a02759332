"""Images on their way from a worker to the detector, in one tensor per batch.

A tensor that leaves a worker holds a file descriptor and a shared-memory file until it is freed:
one per batch, instead of three per image, keeps large batches below the usual limit of 1024. The
same tensor is pinned, and copied to the detector's device, as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.instances import InstanceMasks, Target
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.images import Pixels

BOX_BYTES, LABEL_BYTES = 4 * 4, 8  # four float32, one int64


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image (h, w, 3) as the transform left it; `annotations` is None in evaluation.

    `original_size` is the (height, width) that detections are scaled back to.
    """

    image: Pixels
    image_id: int
    original_size: tuple[int, int]
    annotations: Annotations | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The images of one forward pass with their ground truth; the detector pads and normalises.

    `packed` holds bytes: the boxes of all images, their labels, then their pixels. `sizes` are
    (height, width) of the images as packed. `objects` counts those of each image, and `masks` has
    their masks (None for boxes alone); in evaluation `objects` is None.
    """

    packed: Tensor
    sizes: Sequence[tuple[int, int]]
    image_ids: Sequence[int]
    original_sizes: Sequence[tuple[int, int]]
    objects: Sequence[int] | None
    masks: Sequence[InstanceMasks | None]

    @classmethod
    def of(cls, samples: Sequence[RawSample]) -> Self:
        """All samples, either all of them annotated or none."""
        annotations = [s.annotations for s in samples if s.annotations is not None]
        assert len(annotations) in (0, len(samples))
        return cls(
            _pack([sample.image for sample in samples], annotations),
            [(sample.image.shape[0], sample.image.shape[1]) for sample in samples],
            [sample.image_id for sample in samples],
            [sample.original_size for sample in samples],
            [len(a) for a in annotations] if annotations else None,
            [a.masks for a in annotations],
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def pin_memory(self) -> Self:
        """The same in page-locked memory, for copies that overlap work."""
        return replace(self, packed=self.packed.pin_memory())

    def to(self, device: torch.device) -> Self:
        """The same on another device, by one copy; masks stay on the CPU."""
        return replace(self, packed=self.packed.to(device, non_blocking=True))

    @property
    def images(self) -> list[Tensor]:
        """Views (3, h, w) uint8 RGB, not padded, not normalised."""
        counts = [3 * height * width for height, width in self.sizes]
        flat = torch.split(self.packed[-sum(counts) :], counts)
        return [image.view(3, *size) for image, size in zip(flat, self.sizes, strict=True)]

    @property
    def targets(self) -> list[Target] | None:
        """The ground truth of every image, in its pixels; None in evaluation."""
        if self.objects is None:
            return None
        counts, total = list(self.objects), sum(self.objects)
        boxes_end, labels_end = BOX_BYTES * total, (BOX_BYTES + LABEL_BYTES) * total
        boxes = self.packed[:boxes_end].view(torch.float32).view(total, 4)
        labels = self.packed[boxes_end:labels_end].view(torch.int64)
        of_images = (torch.split(boxes, counts), torch.split(labels, counts), self.masks)
        return [Target(*of_image) for of_image in zip(*of_images, strict=True)]


def _pack(images: Sequence[Pixels], annotations: Sequence[Annotations]) -> Tensor:
    """Boxes as float32, labels as int64, pixels (3, h, w) of all images, as bytes."""
    arrays: list[NDArray[np.float32] | NDArray[np.int64]] = [
        *(a.boxes.astype(np.float32) for a in annotations),
        *(a.labels.astype(np.int64) for a in annotations),
    ]
    head = b"".join(array.tobytes() for array in arrays)
    packed = np.empty(len(head) + sum(image.size for image in images), dtype=np.uint8)
    packed[: len(head)] = np.frombuffer(head, dtype=np.uint8)
    start = len(head)
    for image in images:
        place = packed[start : start + image.size].reshape(3, *image.shape[:2])
        place[:] = image.transpose(2, 0, 1)  # (h, w, 3) -> (3, h, w)
        start += image.size
    return torch.from_numpy(packed)
