import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectors import Stem, detector_on
from torch import nn

from heads.mask_rcnn import MaskRCNN
from heads.options import HeadOptions
from mimdet_cli.data.batch import Batch, RawSample
from mimdet_cli.evaluation.ensemble import SampledEvals, digest, seed_of
from mimdet_cli.evaluation.inference import detect

CPU = torch.device("cpu")


class Forgetful(Stem):
    """Sees a random half of the image's cells; remembers what it drew."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = []

    def forward(self, images, sizes):
        cells = torch.rand(len(images), 1, images.shape[2] // 32, images.shape[3] // 32)
        self.drawn.append(cells)
        kept = nn.functional.interpolate((cells < 0.5).float(), images.shape[-2:])
        return super().forward(images * kept, sizes)


@pytest.fixture
def model() -> MaskRCNN:
    torch.manual_seed(0)
    options = HeadOptions(channels=8, fc_channels=16, norm="none", score=0.01, detections=20)
    detector = detector_on(Forgetful(), 3, options, (120.0,) * 3, (60.0,) * 3)
    for predictor in (detector.roi_heads.box_predictor, detector.rpn):
        for layer in predictor.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.2)
    return detector


def samples() -> list[RawSample]:
    rng = np.random.default_rng(1)
    sizes = [(64, 96), (96, 64), (64, 64)]
    return [
        RawSample(rng.integers(0, 256, (*size, 3), dtype=np.uint8), i, size)
        for i, size in enumerate(sizes, 100)
    ]


def batched(given: list[RawSample], size: int) -> list[Batch]:
    return [Batch.of(given[i : i + size]) for i in range(0, len(given), size)]


def results(model: MaskRCNN, batches: list[Batch], sampled: SampledEvals) -> dict[int, tuple]:
    found = detect(model, batches, CPU, sampled=sampled)
    return {
        result.image_id: (
            result.boxes.tolist(),
            result.scores.tolist(),
            result.labels.tolist(),
            result.rles,
        )
        for result in found
    }


@pytest.mark.parametrize("evals", [1, 3])
def test_result_of_an_image_depends_on_neither_its_batch_nor_the_order(model, evals):
    sampled = SampledEvals(seed=4, evals=evals)
    one_by_one = results(model, batched(samples(), 1), sampled)
    assert all(len(boxes) > 3 for boxes, *_ in one_by_one.values())
    torch.rand(7)  # what was drawn before does not matter
    assert results(model, batched(samples(), 3), sampled) == one_by_one
    assert results(model, batched(samples()[::-1], 2), sampled) == one_by_one
    renamed = [replace(sample, image_id=sample.image_id - 60) for sample in samples()]
    found = results(model, batched(renamed, 2), sampled)
    assert {image_id + 60: one for image_id, one in found.items()} == one_by_one
    (alone,) = results(model, batched(samples()[1:2], 1), sampled).items()
    assert one_by_one[alone[0]] == alone[1]


def test_seed_and_number_of_evaluations_change_the_result(model):
    found = [
        results(model, batched(samples(), 3), sampled)
        for sampled in (SampledEvals(0), SampledEvals(1), SampledEvals(0, evals=2))
    ]
    assert all(one != other for one, other in itertools.combinations(found, 2))


def test_first_passes_of_many_evaluations_are_those_of_fewer(model):
    detect(model, batched(samples(), 3), CPU, sampled=SampledEvals(0, evals=2))
    two, model.backbone.drawn = model.backbone.drawn, []
    detect(model, batched(samples(), 3), CPU, sampled=SampledEvals(0, evals=3))
    three = model.backbone.drawn
    assert (len(two), len(three)) == (6, 9)
    for image in range(3):
        for number in range(2):
            assert torch.equal(two[2 * image + number], three[3 * image + number])
        assert not torch.equal(three[3 * image], three[3 * image + 1])


def test_one_evaluation_is_a_plain_forward_pass_under_its_seed(model):
    drawn = detect(model, batched(samples()[:1], 1), CPU, sampled=SampledEvals(5))[0]
    torch.manual_seed(seed_of(5, digest(Batch.of(samples()[:1]).images[0]), 0))
    plain = detect(model, batched(samples()[:1], 1), CPU)[0]
    assert np.array_equal(drawn.boxes, plain.boxes)
    assert np.array_equal(drawn.scores, plain.scores)
    assert drawn.rles == plain.rles


def test_every_seed_image_and_pass_has_a_seed_of_its_own():
    images = [digest(torch.full((3, 1, n), 7, dtype=torch.uint8)) for n in range(1, 21)]
    images += [digest(torch.full((3, n, 1), 7, dtype=torch.uint8)) for n in range(2, 22)]
    seeds = {seed_of(*key) for key in itertools.product(range(20), images, range(8))}
    assert len(seeds) == 20 * 40 * 8
    assert all(0 <= seed < 2**63 for seed in seeds)
