"""The loop: what happens after which step, and what is timed."""

import pytest
import torch
from torch import nn

from mimdet_cli.data.batch import Batch
from mimdet_cli.engine.loop import at, fit, spread
from mimdet_cli.engine.state import TrainState
from mimdet_cli.engine.step import StepReport


def state_at(step: int = 0) -> TrainState:
    model = nn.Linear(1, 1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return TrainState(model, torch.optim.AdamW(model.parameters()), scaler, step)


def count(state, parts):
    state.step += 1
    return StepReport(state.step, len(parts), None, {"loss": float(state.step)}, 0.1, None)


@pytest.mark.parametrize(
    ("times", "total", "steps"),
    [
        (1, 10, {10}),
        (3, 10, {3, 7, 10}),
        (10, 10, set(range(1, 11))),
        (10, 4, {1, 2, 3, 4}),
        (0, 10, set()),
        (1, 1, {1}),
    ],
)
def test_occasions_are_spread_evenly_and_end_with_the_run(times, total, steps):
    assert spread(times, total) == steps


def test_actions_that_are_due_run_in_order_after_the_step():
    log = []
    every = [
        (lambda step: True, lambda state, timed: log.append(("each", state.step))),
        (at({2, 4}), lambda state, timed: log.append(("second", timed.report.step))),
        (at(spread(1, 4)), lambda state, timed: log.append(("end", state.step))),
    ]
    fit(state_at(), [[]] * 4, count, every)
    assert log == [
        ("each", 1), ("each", 2), ("second", 2), ("each", 3), ("each", 4), ("second", 4),
        ("end", 4),
    ]  # fmt: skip


def test_resumed_loop_counts_on():
    state, log = state_at(step=3), []
    fit(state, [[], []], count, [(at({4}), lambda state, timed: log.append(state.step))])
    assert (state.step, log) == (5, [4])


def test_no_batches_are_no_steps():
    state = state_at(step=4)
    fit(state, [], count, [(lambda step: True, lambda state, timed: pytest.fail("no step"))])
    assert state.step == 4


def test_time_of_actions_is_not_a_steps_time(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("mimdet_cli.engine.loop.time.perf_counter", lambda: next(clock))
    seen = []
    fit(
        state_at(),
        [[Batch.of([])], [Batch.of([])]],
        count,
        [(lambda step: True, lambda state, timed: seen.append((timed.step_s, timed.data_s)))],
    )
    assert seen == [(20, 10), (20, 10)]  # each clock reading is 10 s after the one before
