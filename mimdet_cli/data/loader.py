"""Batches for training and evaluation, read by worker processes.

What a step sees depends on the recipe and the seed only: not on the number of workers, not on how
many processes share the step, not on where the run was interrupted.
"""

import signal
import sys
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mimdet_cli.data.batch import Batch, RawSample
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.data.images import read_image
from mimdet_cli.data.order import BatchKeys, ImageUse, groups
from mimdet_cli.data.transforms import EvalTransform, TrainTransform
from mimdet_cli.errors import DataError, MimdetError
from mimdet_cli.recipe.schema import Data


class TrainImages(Dataset[RawSample]):
    """Augmented images by use: (epoch, image number)."""

    def __init__(self, split: CocoSplit, data: Data, seed: int) -> None:
        self.split = split
        self.seed = seed
        self.transform = TrainTransform(data)

    def __getitem__(self, use: ImageUse) -> RawSample:
        size, image_id = self.split.size(use.image), int(self.split.image_ids[use.image])
        image = read_image(self.split.path(use.image), size, image_id=image_id)
        annotations = self.split.annotations(use.image)
        image, annotations = self.transform(image, annotations, use.generator(self.seed))
        return RawSample(image, image_id, size, annotations)


class EvalImages(Dataset[RawSample]):
    """Resized images by number."""

    def __init__(self, split: CocoSplit, data: Data) -> None:
        self.split = split
        self.transform = EvalTransform(data)

    def __getitem__(self, i: int) -> RawSample:
        size, image_id = self.split.size(i), int(self.split.image_ids[i])
        image = read_image(self.split.path(i), size, image_id=image_id)
        return RawSample(self.transform(image), image_id, size)


class Batches:
    """Batches in order, any number of times; a worker's error is raised here unchanged.

    Workers live for one pass. Forking them again takes a tenth of a second, while workers that
    outlive a pass would idle between evaluations, and could hang when an error ends the program.
    """

    def __init__(
        self, dataset: Dataset[RawSample], keys: BatchKeys, workers: int, pin_memory: bool
    ) -> None:
        self.keys = keys
        # forked workers share the split's arrays; a separate generator leaves torch's alone
        self.loader: DataLoader[RawSample | MimdetError] = DataLoader(
            _Guarded(dataset),
            batch_sampler=keys,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            if isinstance(batch, MimdetError):
                raise batch
            yield batch


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
    same in a run that starts there and in one that passes through it. If there are fewer images
    than a batch holds, it takes them from several epochs.
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

    def batches() -> Iterator[list[ImageUse]]:
        stream = groups(images, landscape, batch * world, seed)
        return (group[mine] for group in islice(stream, start, None))

    length = None if steps is None else steps * accumulate
    keys = BatchKeys(batches, length)
    return Batches(TrainImages(split, data, seed), keys, data.workers, pin_memory)


def eval_loader(
    split: CocoSplit,
    data: Data,
    *,
    batch: int,
    rank: int = 0,
    world: int = 1,
    pin_memory: bool = False,
) -> Batches:
    """Every image once over all processes; images of similar shape share a batch, to pad little."""
    transform = EvalTransform(data)
    shapes = [transform.shape(*split.size(i)) for i in range(len(split))]
    order = sorted(range(len(split)), key=lambda i: shapes[i])[rank::world]
    parts = [order[i : i + batch] for i in range(0, len(order), batch)]
    workers = min(data.workers, len(parts))
    keys = BatchKeys(lambda: iter(parts), len(parts))
    return Batches(EvalImages(split, data), keys, workers, pin_memory)


class _Guarded(Dataset[RawSample | MimdetError]):
    """Returns errors as values: the DataLoader would rebuild them with another message."""

    def __init__(self, dataset: Dataset[RawSample]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: object) -> RawSample | MimdetError:
        try:
            return self.dataset[key]
        except MimdetError as error:
            return error


def _collate(samples: list[RawSample | MimdetError]) -> Batch | MimdetError:
    """A batch, or all errors of its images in one."""
    errors = [sample for sample in samples if isinstance(sample, MimdetError)]
    if errors:
        return type(errors[0]).joined(errors)
    return Batch.of([sample for sample in samples if isinstance(sample, RawSample)])


def _start_worker(worker: int) -> None:
    """One thread, and an interrupt is for the main process to handle."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
