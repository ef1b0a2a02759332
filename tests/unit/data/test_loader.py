"""Order, randomness, resuming, sharing and mistakes of the loaders, on a generated data set."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from heads.mask_targets import rasterize
from mimdet_cli.data.batch import Batch
from mimdet_cli.data.coco.split import CocoSplit, find_split, load_split
from mimdet_cli.data.loader import eval_loader, train_loader
from mimdet_cli.data.order import ImageUse, groups, image_uses
from mimdet_cli.data.synthetic import write_demo
from mimdet_cli.errors import DataError
from mimdet_cli.recipe.schema import Crop, Data

DATA = Data(
    short_side=(96, 128),
    max_side=200,
    crop=Crop(short_side=(110,), size=(80, 110)),
    eval_short_side=96,
    workers=0,
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    folder = tmp_path_factory.mktemp("demo") / "set"
    write_demo(folder, train=10, val=7)
    return load_split(*find_split(folder, "train"), need_masks=True)


def assert_same(whole: Batch, *parts: Batch) -> None:
    """Equal to the last bit: pixels, ids, boxes, labels and rasterised masks."""
    second = [of_image for part in parts for of_image in contents(part)]
    for a, b in zip(contents(whole), second, strict=True):
        assert a[0] == b[0]
        assert all(torch.equal(x, y) for x, y in zip(a[1:], b[1:], strict=True))


def contents(batch: Batch) -> list[tuple[int, *tuple[torch.Tensor, ...]]]:
    """Of each image its id, its pixels and its targets."""
    found = []
    assert batch.targets is not None
    for number, image, target in zip(batch.image_ids, batch.images, batch.targets, strict=True):
        assert target.masks is not None
        masks = rasterize(target.masks, torch.arange(len(target.labels)), target.boxes, 28)
        found.append((number, image, target.boxes, target.labels, masks))
    return found


def ids(batches: Iterable[Batch]) -> list[int]:
    return [number for batch in batches for number in batch.image_ids]


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own() -> None:
    images = np.array([3, 5, 8, 9, 12, 40])
    stream = list(islice(image_uses(images, seed=1), 18))
    for epoch in range(3):
        part = stream[6 * epoch : 6 * epoch + 6]
        assert {d.epoch for d in part} == {epoch}
        assert sorted(d.image for d in part) == images.tolist()
    assert len({tuple(d.image for d in stream[i : i + 6]) for i in (0, 6, 12)}) == 3
    assert stream == list(islice(image_uses(images, seed=1), 18))
    assert stream != list(islice(image_uses(images, seed=2), 18))


def test_groups_hold_one_aspect_and_lose_no_image() -> None:
    landscape = np.arange(23) < 20  # three images of the rare kind
    made = list(islice(groups(np.arange(23), landscape, 4, seed=0), 300))
    for group in made:
        assert len({bool(landscape[d.image]) for d in group}) == 1
    used = [d for group in made for d in group]
    assert len(set(used)) == len(used)
    counts = np.bincount([d.image for d in used], minlength=23)
    assert counts.max() - counts.min() <= 2  # what still waits: less than one group of each kind


def test_the_randomness_of_a_sample_belongs_to_seed_epoch_and_image() -> None:
    def number(seed: int, epoch: int, image: int) -> float:
        return float(ImageUse(epoch, image).generator(seed).random())

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({number(*key) for key in keys}) == 4
    assert number(0, 1, 2) == number(0, 1, 2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_starting_at_a_step_gives_what_an_uninterrupted_run_gives_there(
    split: CocoSplit, accumulate: int
) -> None:
    options = {"seed": 3, "batch": 4, "accumulate": accumulate}
    whole = list(train_loader(split, DATA, steps=8, **options))
    rest = list(train_loader(split, DATA, start_step=5, steps=3, **options))
    assert len(whole) == 8 * accumulate
    assert len(rest) == 3 * accumulate
    for a, b in zip(whole[5 * accumulate :], rest, strict=True):
        assert_same(a, b)


def test_the_number_of_workers_changes_nothing(split: CocoSplit) -> None:
    alone = list(train_loader(split, DATA, seed=0, batch=3, steps=5))
    shared = train_loader(split, DATA.model_copy(update={"workers": 2}), seed=0, batch=3, steps=5)
    for a, b in zip(alone, shared, strict=True):
        assert_same(a, b)


def test_several_processes_share_what_one_would_see(split: CocoSplit) -> None:
    whole = list(train_loader(split, DATA, seed=0, batch=4, steps=3))
    parts = [
        list(train_loader(split, DATA, seed=0, batch=2, rank=r, world=2, steps=3)) for r in (0, 1)
    ]
    for a, first, second in zip(whole, *parts, strict=True):
        assert_same(a, first, second)


def test_reading_batches_leaves_torch_s_random_numbers_alone(split: CocoSplit) -> None:
    before = torch.get_rng_state()
    list(train_loader(split, DATA, seed=0, batch=2, steps=1))
    list(eval_loader(split, DATA, batch=2))
    assert torch.equal(before, torch.get_rng_state())


def test_fewer_images_than_a_batch_still_train(split: CocoSplit) -> None:
    (batch,) = train_loader(split, DATA, seed=0, batch=25, steps=1)
    assert len(batch) == 25
    assert set(ids([batch])) == set(split.image_ids[split.usable()].tolist())


def test_empty_images_are_left_out_of_training_only_where_asked(split: CocoSplit) -> None:
    assert len(split.usable()) == len(split) - 1
    empty = (set(range(len(split))) - set(split.usable().tolist())).pop()
    number = int(split.image_ids[empty])
    assert number not in ids(train_loader(split, DATA, seed=0, batch=9, steps=3))
    keep = DATA.model_copy(update={"skip_empty": False})
    assert number in ids(train_loader(split, keep, seed=0, batch=10, steps=3))


def test_crowd_regions_are_no_targets(split: CocoSplit) -> None:
    (row,) = np.flatnonzero(split.crowds.per_image())
    plain = Data(short_side=(128,), flip=0.0, workers=0)
    batches = train_loader(split, plain, seed=0, batch=9, steps=1)
    of_images = (of_image for batch in batches for of_image in contents(batch))
    (boxes,) = (boxes for n, _, boxes, *_ in of_images if n == split.image_ids[row])
    assert torch.equal(boxes, torch.from_numpy(split.annotations(int(row)).boxes).float())


def test_a_split_with_nothing_to_learn_is_an_error(split: CocoSplit) -> None:
    nothing = replace(split, objects=split.crowds, crowds=split.objects)
    with_none = replace(nothing, objects=type(split.objects).of([], len(split)))
    with pytest.raises(DataError, match="No image has an annotation to train on"):
        train_loader(with_none, DATA, seed=0, batch=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_image_once_over_all_processes(
    split: CocoSplit, workers: int
) -> None:
    data = DATA.model_copy(update={"workers": workers})
    loaders = [eval_loader(split, data, batch=2, rank=r, world=3) for r in range(3)]
    seen = [ids(loader) for loader in loaders]
    assert sorted(number for part in seen for number in part) == sorted(split.image_ids.tolist())
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert ids(loaders[0]) == seen[0]  # a second pass with the same workers


def test_evaluation_samples_know_their_original_size_and_have_no_target(
    split: CocoSplit,
) -> None:
    for batch in eval_loader(split, DATA, batch=4):
        assert batch.targets is None
        for image, original_size in zip(batch.images, batch.original_sizes, strict=True):
            assert image.shape == (3, 96, 96)
            assert image.dtype == torch.uint8
            assert original_size == (128, 128)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_raises_the_error_that_names_it(tmp_path: Path, workers: int) -> None:
    write_demo(tmp_path / "set", train=4, val=4)
    broken = load_split(*find_split(tmp_path / "set", "val"), need_masks=True)
    file = broken.path(3)
    file.write_bytes(file.read_bytes()[:900])
    data = DATA.model_copy(update={"workers": workers})
    with pytest.raises(DataError) as caught:
        list(eval_loader(broken, data, batch=2))
    assert caught.value.where == str(file)
    assert caught.value.what.startswith("The image cannot be read: ")
    assert caught.value.fix
    with pytest.raises(DataError) as caught:
        list(train_loader(broken, data, seed=0, batch=3, steps=4))
    assert caught.value.where == str(file)


def test_all_corrupt_images_of_a_batch_are_named_together(tmp_path: Path) -> None:
    write_demo(tmp_path / "set", train=4, val=4)
    broken = load_split(*find_split(tmp_path / "set", "val"), need_masks=True)
    for i in (0, 1):
        broken.path(i).write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        list(eval_loader(broken, DATA, batch=4))
    assert [e.where for e in caught.value.each()] == [str(broken.path(i)) for i in (0, 1)]


def test_an_endless_loader_has_no_length_and_a_limited_one_has(split: CocoSplit) -> None:
    assert len(train_loader(split, DATA, seed=0, batch=2, steps=7, accumulate=3)) == 21
    with pytest.raises(TypeError, match="endless"):
        len(train_loader(split, DATA, seed=0, batch=2))
    assert len(list(islice(train_loader(split, DATA, seed=0, batch=2), 12))) == 12
