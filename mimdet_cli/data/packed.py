"""Many byte strings in one buffer.

A Python list of a million objects is copied page by page into every forked worker, because reading
an object writes its reference count. Two numpy arrays have two reference counts in all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Packed:
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
