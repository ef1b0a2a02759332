"""Latency of a detector for one image.

At the recipe's score threshold, random weights detect either nothing or everything. The threshold
is therefore first set so that `CANDIDATES` boxes pass it, which gives NMS and the mask head the
load of a full image; the resulting number of detections is reported.
"""

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heads.box_head import BoxPredictor
from heads.mask_rcnn import MaskRCNN

CANDIDATES = 1000
RUNS = (3, 50)
"""Minimum and maximum number of timed runs; in between, as many as fit in `SECONDS`."""
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per forward pass over `runs` runs, and the number of detections."""

    median: float
    min: float
    max: float
    runs: int
    detections: int


def time_forward(detector: MaskRCNN, image: Tensor) -> Latency:
    """Time `detector` on one `image` (3, h, w) uint8; switches to evaluation mode."""
    detector.eval()
    count = 0

    def run() -> None:
        nonlocal count
        (detections,) = detector([image])
        count = len(detections.boxes)
        _wait(image.device)

    fill_detections(detector, image)
    with torch.inference_mode():
        for _ in range(5 if image.device.type == "cuda" else 1):
            run()
        times: list[float] = []
        while len(times) < RUNS[0] or (len(times) < RUNS[1] and sum(times) < SECONDS):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
    return Latency(
        median=1000 * statistics.median(times),
        min=1000 * min(times),
        max=1000 * max(times),
        runs=len(times),
        detections=count,
    )


@torch.inference_mode()
def fill_detections(detector: MaskRCNN, image: Tensor) -> None:
    """Set the score threshold so that `CANDIDATES` boxes of `image` pass it."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor]) -> None:
        seen.append(output[0].softmax(dim=1))

    with ExitStack() as hooks:
        for module in detector.modules():
            if isinstance(module, BoxPredictor):
                hooks.callback(module.register_forward_hook(keep).remove)
        detector([image])
    scores = torch.stack(seen).mean(dim=0)[:, :-1].flatten()  # over the stages of a cascade
    if len(scores):
        lowest = scores.topk(min(CANDIDATES, len(scores))).values[-1].item()
        heads = detector.roi_heads
        heads.options = heads.options.model_copy(update={"score": lowest})


def _wait(device: torch.device) -> None:
    """Wait until the device has finished; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
