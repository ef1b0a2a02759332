"""Time several functions in turns, so that a machine that slows down slows all of them alike."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch


def in_alternation(
    functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each function in every round, after one call of each that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            finish(device)
            start = time.perf_counter()
            function()
            finish(device)
            if turn:
                times[name].append(time.perf_counter() - start)
        sys.stderr.write(f"round {turn} of {rounds}\n" if turn else "warmed up\n")
    return times


def finish(device: torch.device) -> None:
    """Wait for work that was handed to a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(times: Sequence[float]) -> str:
    """Fastest and slowest, in seconds."""
    return f"{min(times):.3f}-{max(times):.3f}"


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """Median over the rounds of a function's time over the reference's in the same round."""
    pairs = zip(times, reference, strict=True)
    return statistics.median(one / other for one, other in pairs)
