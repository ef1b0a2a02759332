import numpy as np
import pytest
import torch
from torch import nn

from heads.instances import Detections
from mimdet_cli.data.batch import Batch, RawSample
from mimdet_cli.evaluation.inference import detect

CPU = torch.device("cpu")


class Spots(nn.Module):
    """Finds one box that covers the left half of every image; remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.frozen = nn.BatchNorm2d(3).eval()
        self.seen = []

    def forward(self, images):
        out = self.head(torch.ones(1, 4))
        self.seen.append((self.training, out.dtype, out.requires_grad, len(images)))
        return [
            Detections(
                boxes=torch.tensor([[0.0, 0, image.shape[2] / 2, image.shape[1]]]),
                scores=torch.tensor([0.5]),
                labels=torch.tensor([0]),
                masks=torch.ones(1, 28, 28),
            )
            for image in images
        ]


class Broken(Spots):
    def forward(self, images):
        raise RuntimeError("out of memory")


def batches():
    shapes = [((20, 30), (40, 60)), ((10, 10), (5, 20)), ((8, 6), (8, 6))]
    samples = [
        RawSample(np.zeros((*size, 3), np.uint8), 100 + i, original)
        for i, (size, original) in enumerate(shapes)
    ]
    return [Batch.of(samples[:2]), Batch.of(samples[2:])]


def test_results_are_in_the_order_and_the_pixels_of_the_original_images():
    results = detect(Spots(), batches(), CPU)
    assert [result.image_id for result in results] == [100, 101, 102]
    assert [result.boxes.tolist() for result in results] == [
        [[0, 0, 30, 40]],
        [[0, 0, 10, 5]],
        [[0, 0, 3, 8]],
    ]
    assert [result.rles[0]["size"] for result in results] == [[40, 60], [5, 20], [8, 6]]


def test_model_is_evaluated_without_gradients_and_put_back_as_it_was():
    model = Spots().train()
    model.frozen.eval()
    detect(model, batches(), CPU)
    assert model.seen == [(False, torch.float32, False, 2), (False, torch.float32, False, 1)]
    assert (model.training, model.head.training, model.frozen.training) == (True, True, False)


def test_model_is_put_back_after_an_error_too():
    model = Broken().train()
    with pytest.raises(RuntimeError, match="out of memory"):
        detect(model, batches(), CPU)
    assert model.training


def test_lower_precision_is_used_where_asked_for():
    model = Spots()
    detect(model, batches(), CPU, precision="bf16")
    assert {dtype for _, dtype, _, _ in model.seen} == {torch.bfloat16}


def test_progress_is_reported_after_every_image():
    done = []
    detect(Spots(), batches(), CPU, on_image=done.append)
    assert done == [1, 2, 3]
