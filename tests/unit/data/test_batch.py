"""A batch gives back what was packed, from a single tensor."""

import pickle

import numpy as np
import pytest
import torch

from heads.instances import BitPatch, InstanceMasks
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.batch import Batch, RawSample


def samples() -> list[RawSample]:
    """Three images of different sizes with one, no and two objects."""
    rng = np.random.default_rng(0)
    made = []
    for i, (height, width, objects) in enumerate([(5, 7, 1), (8, 3, 0), (4, 4, 2)]):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        masks = InstanceMasks((BitPatch.of(image[..., 0] > 99),) * objects, height, width)
        boxes = rng.uniform(0, 5, (objects, 4))
        annotations = Annotations(boxes, np.full(objects, i), masks)
        made.append(RawSample(image[:, ::-1], 10 + i, (50 + i, 70), annotations))
    return made


def assert_holds(batch: Batch, packed: list[RawSample]) -> None:
    assert len(batch) == len(batch.images) == len(packed)
    assert batch.targets is not None
    for i, (image, target, sample) in enumerate(
        zip(batch.images, batch.targets, packed, strict=True)
    ):
        assert torch.equal(image, torch.from_numpy(sample.image.copy()).permute(2, 0, 1))
        assert batch.sizes[i] == sample.image.shape[:2]
        assert (batch.image_ids[i], batch.original_sizes[i]) == (10 + i, (50 + i, 70))
        assert sample.annotations is not None
        assert torch.equal(target.boxes, torch.from_numpy(sample.annotations.boxes).float())
        assert target.labels.tolist() == sample.annotations.labels.tolist()
        assert target.labels.dtype == torch.int64
        assert target.masks is not None
        assert len(target.masks) == len(target.labels)


def test_a_batch_gives_back_every_image_and_its_ground_truth() -> None:
    assert_holds(Batch.of(samples()), samples())


def test_a_batch_travels_with_one_tensor() -> None:
    content = pickle.dumps(Batch.of(samples()))
    assert content.count(b"_rebuild_tensor") == 1
    assert_holds(pickle.loads(content), samples())


def test_a_batch_moves_to_a_device_by_one_copy() -> None:
    moved = Batch.of(samples()).to(torch.device("meta"))
    assert moved.targets is not None
    tensors = [*moved.images, *(t.boxes for t in moved.targets), *(t.labels for t in moved.targets)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    storage = moved.packed.untyped_storage()._cdata
    assert {tensor.untyped_storage()._cdata for tensor in tensors} == {storage}


@pytest.mark.gpu
def test_a_pinned_batch_moves_to_a_gpu_unchanged() -> None:
    pinned = Batch.of(samples()).pin_memory()
    assert pinned.packed.is_pinned()
    there = pinned.to(torch.device("cuda"))
    assert there.targets is not None
    assert {t.boxes.device.type for t in there.targets} == {"cuda"}
    assert_holds(there.to(torch.device("cpu")), samples())


def test_a_batch_without_any_object_has_empty_targets() -> None:
    (target,) = Batch.of(samples()[1:2]).targets or ()
    assert target.boxes.shape == (0, 4)
    assert target.labels.shape == (0,)


def test_images_without_annotations_have_no_targets() -> None:
    batch = Batch.of([RawSample(np.zeros((4, 6, 3), np.uint8), 1, (4, 6))])
    assert batch.targets is None
    assert [image.shape for image in batch.images] == [(3, 4, 6)]
