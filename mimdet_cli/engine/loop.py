"""The training loop: take a batch, make a step, run the actions that are due."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mimdet_cli.data.batch import Batch
from mimdet_cli.engine.state import TrainState
from mimdet_cli.engine.step import Step, StepReport


@dataclass(frozen=True, slots=True)
class Timed:
    """A step's report with the seconds it took and, of those, the seconds spent on data."""

    report: StepReport
    step_s: float
    data_s: float


Action = Callable[[TrainState, Timed], None]
When = Callable[[int], bool]


def at(steps: Iterable[int]) -> When:
    """After each of `steps`."""
    chosen = frozenset(steps)
    return lambda step: step in chosen


def spread(times: int, total: int) -> set[int]:
    """`times` steps evenly spread over `total`, the last one at the end."""
    return {round(total * i / times) for i in range(1, times + 1)} - {0}


def fit(
    state: TrainState,
    batches: Iterable[Sequence[Batch]],
    step: Step,
    every: Sequence[tuple[When, Action]],
) -> None:
    """Train `state` on all of `batches`; after a step, run the actions that are due, in order."""
    began = time.perf_counter()
    for parts in batches:
        read = time.perf_counter()
        report = step(state, parts)
        ended = time.perf_counter()
        timed = Timed(report, step_s=ended - began, data_s=read - began)
        for due, action in every:
            if due(state.step):
                action(state, timed)
        began = time.perf_counter()
