"""Latency of a forward pass, with a full set of detections."""

import pytest
import torch
from detectors import detector_of

from mimdet_cli.measure import speed


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (3, 64, 80), dtype=torch.uint8)


def detector(tiny, *sets):
    return detector_of(tiny, *sets, classes=80)


def test_spread_is_ordered_and_long_runs_are_few(tiny, image, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    latency = speed.time_forward(detector(tiny), image)
    assert 0 < latency.min <= latency.median <= latency.max
    assert latency.runs == 3


def test_short_runs_are_repeated_until_there_are_enough(tiny, image, monkeypatch):
    monkeypatch.setattr(speed, "RUNS", (3, 5))
    assert speed.time_forward(detector(tiny), image).runs == 5


@pytest.mark.parametrize("cascade", ["false", "true"])
def test_random_weights_give_detections_to_time(tiny, image, cascade):
    model = detector(tiny, f"head.cascade={cascade}", "head.detections=20").eval()
    with torch.inference_mode():
        assert len(model([image])[0].boxes) == 0  # 80 classes share what random weights give
    speed.fill_detections(model, image)
    with torch.inference_mode():
        assert len(model([image])[0].boxes) == 20


def test_hooks_are_gone_afterwards(tiny, image):
    model = detector(tiny).eval()
    speed.fill_detections(model, image)
    assert not any(module._forward_hooks for module in model.modules())
