"""Which images follow each other in training: a pure function of the seed.

Epoch `e` shuffles all images with a generator seeded by (seed, e). The epochs are joined into one
endless row, and groups of equal size are cut from it. With grouping by aspect, landscape and other
images wait in two queues, and a queue that is long enough becomes the next group: an image that is
left over at the end of an epoch waits for the next, so none is lost, however rare its aspect; it
is only shown later. Groups do not depend on workers, nor on how many processes share one.
"""

from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ImageUse(NamedTuple):
    """One use of an image: each epoch uses each image once."""

    epoch: int
    image: int

    def generator(self, seed: int) -> np.random.Generator:
        """The randomness of this use, whichever worker computes it."""
        # the leading 1 keeps it apart from the generators that shuffle
        return np.random.default_rng([1, seed, self.epoch, self.image])


class BatchKeys:
    """The keys of every batch, generated again for each pass; `length` is None if endless."""

    def __init__(self, batches: Callable[[], Iterator[list[Any]]], length: int | None) -> None:
        self.batches = batches
        self.length = length

    def __iter__(self) -> Iterator[list[Any]]:
        return islice(self.batches(), self.length)

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("this loader is endless")
        return self.length


def image_uses(images: NDArray[np.int64], seed: int) -> Iterator[ImageUse]:
    """All uses of the images, epoch after epoch, without end."""
    for epoch in count():
        shuffled = np.random.default_rng([0, seed, epoch]).permutation(images)
        yield from (ImageUse(epoch, image) for image in shuffled.tolist())


def groups(
    images: NDArray[np.int64], landscape: NDArray[np.bool_] | None, size: int, seed: int
) -> Iterator[list[ImageUse]]:
    """Groups of `size`; `landscape` (one flag per image number) keeps the two kinds apart."""
    queues: tuple[list[ImageUse], list[ImageUse]] = ([], [])
    for use in image_uses(images, seed):
        queue = queues[0 if landscape is None else int(landscape[use.image])]
        queue.append(use)
        if len(queue) == size:
            yield queue.copy()
            queue.clear()
