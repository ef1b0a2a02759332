"""A parcel gives back what was packed, with a single tensor on the way."""

import pickle

import numpy as np
import torch

from mimdet_cli.data.batching import Parcel, Piece
from mimdet_cli.data.mask_shapes import BitPatch
from mimdet_cli.data.masks import InstanceMasks
from mimdet_cli.data.truth import Truth


def pieces() -> list[Piece]:
    rng = np.random.default_rng(0)
    made = []
    for i, (height, width) in enumerate([(5, 7), (8, 3), (4, 4)]):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        masks = InstanceMasks((BitPatch.of(image[..., 0] > 99),), height, width)
        truth = Truth(np.array([[0.0, 0.0, 2.5, 3.0]]), np.array([i]), masks)
        made.append(Piece(image[:, ::-1], 10 + i, (50, 70), truth))
    return made


def test_unpacking_gives_back_every_image_and_its_truth() -> None:
    batch = Parcel.pack(pieces()).unpack()
    assert len(batch.samples) == 3
    for piece, sample in zip(pieces(), batch.samples, strict=True):
        alone = piece.sample()
        assert torch.equal(sample.image, alone.image)
        assert torch.equal(sample.image, torch.from_numpy(piece.image.copy()).permute(2, 0, 1))
        assert (sample.image_id, sample.original_size) == (piece.image_id, (50, 70))
        assert sample.target is not None
        assert alone.target is not None
        assert torch.equal(sample.target.boxes, alone.target.boxes)
        assert sample.target.boxes.dtype == torch.float32
        assert sample.target.labels.dtype == torch.int64


def test_a_parcel_travels_with_one_tensor() -> None:
    parcel = Parcel.pack(pieces())
    content = pickle.dumps(parcel)
    assert content.count(b"_rebuild_tensor") == 1
    again = pickle.loads(content).unpack()
    assert torch.equal(again.samples[2].image, parcel.unpack().samples[2].image)


def test_images_without_truth_have_no_target() -> None:
    piece = Piece(np.zeros((4, 6, 3), np.uint8), 1, (4, 6))
    (sample,) = Parcel.pack([piece]).unpack().samples
    assert sample.target is None
    assert sample.image.shape == (3, 4, 6)
