"""The annotations of a split in a few arrays, many byte strings in one buffer.

A Python list of a million objects is copied page by page into every forked worker, because reading
an object writes its reference count. Two numpy arrays have two reference counts in all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mimdet_cli.data.coco.records import AnnotationRow


@dataclass(frozen=True, slots=True)
class ByteStrings:
    """String `i` is `data[ends[i - 1] : ends[i]]`."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, items: Iterable[bytes]) -> Self:
        """All items, in order."""
        buffer, ends = bytearray(), []
        for item in items:
            buffer += item
            ends.append(len(buffer))
        return cls(np.frombuffer(bytes(buffer), dtype=np.uint8), np.array(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> bytes:
        start = int(self.ends[i - 1]) if i else 0
        return self.data[start : int(self.ends[i])].tobytes()


@dataclass(frozen=True, slots=True)
class AnnotationTable:
    """Annotations sorted by image; those of image `i` are rows `starts[i] : starts[i + 1]`."""

    starts: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    segmentations: ByteStrings

    @classmethod
    def of(cls, rows: Sequence[AnnotationRow], images: int) -> Self:
        """From rows in any order, for a split of `images` images."""
        rows = sorted(rows, key=lambda row: row.image)
        counts = np.bincount([row.image for row in rows], minlength=images)
        return cls(
            np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            np.array([row.id for row in rows], dtype=np.int64),
            np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4),
            np.array([row.label for row in rows], dtype=np.int64),
            ByteStrings.of(row.stored for row in rows),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def of_image(self, i: int) -> slice:
        """The rows of image `i`."""
        return slice(int(self.starts[i]), int(self.starts[i + 1]))

    def per_image(self) -> NDArray[np.int64]:
        """How many rows each image has."""
        return np.diff(self.starts)
