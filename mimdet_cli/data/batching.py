"""How a batch travels from a worker: all pixels in one tensor, the rest as plain arrays.

A tensor that leaves a worker holds a file descriptor and a shared-memory file until it is freed.
One tensor per batch, instead of three per image, keeps large batches below the usual limit of 1024.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimdet_cli.data.sample import Batch, Sample
from mimdet_cli.data.truth import Truth


@dataclass(frozen=True, slots=True)
class Piece:
    """One image (h, w, 3) as the transform left it; `truth` is None in evaluation."""

    image: NDArray[np.uint8]
    image_id: int
    original_size: tuple[int, int]
    truth: Truth | None = None

    def sample(self) -> Sample:
        """The same as tensors."""
        pixels = np.ascontiguousarray(self.image.transpose(2, 0, 1))  # (h, w, 3) -> (3, h, w)
        return self._with(torch.from_numpy(pixels))

    def _with(self, pixels: Tensor) -> Sample:
        target = None if self.truth is None else self.truth.target()
        return Sample(pixels, self.image_id, self.original_size, target)


@dataclass(frozen=True, slots=True)
class Parcel:
    """The pixels of all images one after the other, and the pieces without them."""

    pixels: Tensor
    shapes: Sequence[tuple[int, int]]
    pieces: Sequence[Piece]

    @classmethod
    def pack(cls, pieces: Sequence[Piece]) -> Self:
        """One parcel of all pieces."""
        flat = [piece.image.transpose(2, 0, 1).ravel() for piece in pieces]
        nothing = np.zeros((0, 0, 3), dtype=np.uint8)
        return cls(
            torch.from_numpy(np.concatenate(flat)),
            [(piece.image.shape[0], piece.image.shape[1]) for piece in pieces],
            [Piece(nothing, p.image_id, p.original_size, p.truth) for p in pieces],
        )

    def pin_memory(self) -> Self:
        """The same with its pixels in page-locked memory, for copies that overlap work."""
        return type(self)(self.pixels.pin_memory(), self.shapes, self.pieces)

    def unpack(self) -> Batch:
        """The samples; their images are views of the one tensor."""
        counts = [3 * height * width for height, width in self.shapes]
        images = torch.split(self.pixels, counts)
        return Batch(
            [
                piece._with(image.view(3, *shape))
                for piece, image, shape in zip(self.pieces, images, self.shapes, strict=True)
            ]
        )
