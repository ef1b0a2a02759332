"""How long a detector takes for one image.

Random weights find nothing at the recipe's score threshold, or everything. Before the clock starts
the threshold is put where `CANDIDATES` boxes pass it, so that suppression and the mask head have
the work of a full image; how many detections that gave is reported.
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
"""Fewest and most timed runs; between them, as many as fit into `SECONDS`."""
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one forward pass over `runs` runs, and the detections each of them gave."""

    median: float
    min: float
    max: float
    runs: int
    detections: int


def time_forward(detector: MaskRCNN, image: Tensor) -> Latency:
    """Time `detector` on one `image` (3, h, w) uint8; leaves evaluation mode on."""
    detector.eval()
    found = 0

    def run() -> None:
        nonlocal found
        (detections,) = detector([image])
        found = len(detections.boxes)
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
        detections=found,
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
    """Until the device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
