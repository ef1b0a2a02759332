"""Batches for training and evaluation, read by worker processes.

What a step sees depends on the recipe and the seed only: not on the number of workers, not on how
many processes share the step, not on where the run was interrupted.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mimdet_cli.data.batching import Parcel, Piece
from mimdet_cli.data.coco import CocoSplit
from mimdet_cli.data.images import read_image
from mimdet_cli.data.order import Draw, groups
from mimdet_cli.data.sample import Batch
from mimdet_cli.data.transforms import EvalTransform, TrainTransform
from mimdet_cli.errors import DataError, MimdetError
from mimdet_cli.recipe.schema import Data


class TrainImages(Dataset[Piece]):
    """Augmented images by draw: (epoch, image number)."""

    def __init__(self, split: CocoSplit, data: Data, seed: int) -> None:
        self.split = split
        self.seed = seed
        self.transform = TrainTransform(data)

    def __getitem__(self, draw: Draw) -> Piece:
        size, image_id = self.split.size(draw.image), int(self.split.image_ids[draw.image])
        image = read_image(self.split.path(draw.image), size, image_id=image_id)
        truth = self.split.truth(draw.image)
        image, truth = self.transform(image, truth, draw.generator(self.seed))
        return Piece(image, image_id, size, truth)


class EvalImages(Dataset[Piece]):
    """Resized images by number."""

    def __init__(self, split: CocoSplit, data: Data) -> None:
        self.split = split
        self.transform = EvalTransform(data)

    def __getitem__(self, i: int) -> Piece:
        size, image_id = self.split.size(i), int(self.split.image_ids[i])
        image = read_image(self.split.path(i), size, image_id=image_id)
        return Piece(self.transform(image), image_id, size)


class Batches:
    """Batches in order, any number of times; a worker's mistake is raised here as itself.

    Workers live for one pass. Forking them anew takes a tenth of a second, while workers that
    outlive a pass would idle between evaluations, and could hang when an error ends the program.
    """

    def __init__(
        self, dataset: Dataset[Piece], plan: "Plan", workers: int, pin_memory: bool
    ) -> None:
        self.plan = plan
        # forked workers share the split's arrays; a generator of its own leaves torch's alone
        self.loader: DataLoader[Piece | MimdetError] = DataLoader(
            _Guarded(dataset),
            batch_sampler=plan,
            num_workers=workers,
            collate_fn=_hand_over,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        for parcel in self.loader:
            if isinstance(parcel, MimdetError):
                raise parcel
            yield parcel.unpack()


class Plan:
    """The keys of every batch, made anew for each pass; `length` is None if it has no end."""

    def __init__(self, batches: Callable[[], Iterator[list[Any]]], length: int | None):
        self.batches = batches
        self.length = length

    def __iter__(self) -> Iterator[list[Any]]:
        return islice(self.batches(), self.length)

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("this loader has no end")
        return self.length


def train_loader(
    split: CocoSplit,
    data: Data,
    *,
    seed: int,
    batch: int,
    accumulate: int = 1,
    rank: int = 0,
    world: int = 1,
    start_step: int = 0,
    steps: int | None = None,
    pin_memory: bool = False,
) -> Batches:
    """Training batches of this process, from optimizer step `start_step` on, for `steps` steps.

    A step is `accumulate` batches of `batch` images in each of `world` processes. Step k is the
    same in a run that started there and in one that came by. Fewer images than a batch are no
    obstacle: a batch then holds images of several epochs.
    """
    images = split.usable() if data.skip_empty else np.arange(len(split))
    if not len(images):
        raise DataError(
            "No image has an annotation to train on.",
            where=str(split.annotation_file),
            fix="annotate images, or set data.skip_empty=false to train on empty ones.",
        )
    landscape = split.sizes[:, 1] > split.sizes[:, 0] if data.group_by_aspect else None
    mine = slice(rank * batch, (rank + 1) * batch)
    start = start_step * accumulate

    def batches() -> Iterator[list[Draw]]:
        stream = groups(images, landscape, batch * world, seed)
        return (group[mine] for group in islice(stream, start, None))

    length = None if steps is None else steps * accumulate
    plan = Plan(batches, length)
    return Batches(TrainImages(split, data, seed), plan, data.workers, pin_memory)


def eval_loader(
    split: CocoSplit,
    data: Data,
    *,
    batch: int,
    rank: int = 0,
    world: int = 1,
    pin_memory: bool = False,
) -> Batches:
    """Every image once over all processes; images of like shape meet, so that little is padded."""
    transform = EvalTransform(data)
    shapes = [transform.shape(*split.size(i)) for i in range(len(split))]
    order = sorted(range(len(split)), key=lambda i: shapes[i])[rank::world]
    keys = [order[i : i + batch] for i in range(0, len(order), batch)]
    workers = min(data.workers, len(keys))
    plan = Plan(lambda: iter(keys), len(keys))
    return Batches(EvalImages(split, data), plan, workers, pin_memory)


class _Guarded(Dataset[Piece | MimdetError]):
    """Hands mistakes over as values: the DataLoader would rebuild them with a changed message."""

    def __init__(self, dataset: Dataset[Piece]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: object) -> Piece | MimdetError:
        try:
            return self.dataset[key]
        except MimdetError as error:
            return error


def _hand_over(pieces: list[Piece | MimdetError]) -> Parcel | MimdetError:
    """A parcel, or all mistakes of the batch in one."""
    errors = [piece for piece in pieces if isinstance(piece, MimdetError)]
    if errors:
        return type(errors[0]).joined(errors)
    return Parcel.pack([piece for piece in pieces if isinstance(piece, Piece)])


def _start_worker(worker: int) -> None:
    """One thread, and an interrupt is the main process's to handle."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
