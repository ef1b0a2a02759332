"""Which images follow each other in training: a pure function of the seed.

Epoch `e` shuffles all images with a generator seeded by (seed, e). The epochs are joined into one
endless row, and groups of equal size are cut from it. With grouping by aspect, landscape and other
images wait in two queues, and a queue that is long enough becomes the next group: an image that is
left over at the end of an epoch waits for the next, so none is lost, however rare its aspect; it
is only shown later. Groups do not depend on workers, nor on how many processes share one.
"""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Draw(NamedTuple):
    """One use of an image: each epoch uses each image once."""

    epoch: int
    image: int

    def generator(self, seed: int) -> np.random.Generator:
        """The randomness of this use, whoever computes it."""
        # the leading 1 keeps it apart from the generators that shuffle
        return np.random.default_rng([1, seed, self.epoch, self.image])


def draws(images: NDArray[np.int64], seed: int) -> Iterator[Draw]:
    """All uses of the images, epoch after epoch, without end."""
    for epoch in count():
        shuffled = np.random.default_rng([0, seed, epoch]).permutation(images)
        yield from (Draw(epoch, image) for image in shuffled.tolist())


def groups(
    images: NDArray[np.int64], landscape: NDArray[np.bool_] | None, size: int, seed: int
) -> Iterator[list[Draw]]:
    """Groups of `size`; `landscape` (one flag per image number) keeps the two kinds apart."""
    queues: tuple[list[Draw], list[Draw]] = ([], [])
    for draw in draws(images, seed):
        queue = queues[0 if landscape is None else int(landscape[draw.image])]
        queue.append(draw)
        if len(queue) == size:
            yield queue.copy()
            queue.clear()
