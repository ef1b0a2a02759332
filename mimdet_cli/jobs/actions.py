"""What happens now and then in a training run: log, show progress, evaluate."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mimdet_cli.data.coco import CocoSplit
from mimdet_cli.engine.journal import Journal
from mimdet_cli.engine.loop import Action, Timed, When
from mimdet_cli.engine.state import TrainState
from mimdet_cli.engine.step import total
from mimdet_cli.evaluation.metrics import ACCURACIES, BEST
from mimdet_cli.jobs.scoring import Scored, score_model
from mimdet_cli.progress import Progress, StepMeter
from mimdet_cli.recipe.schema import CompletedRecipe

Better = Callable[[TrainState, Mapping[str, Any]], None]


def every_step(step: int) -> bool:
    """After each step."""
    return True


class Means:
    """Shows every step, and writes the means of the steps since the last line when one is due."""

    def __init__(self, journal: Journal, meter: StepMeter, due: When) -> None:
        self.journal = journal
        self.meter = meter
        self.due = due
        self.window: list[Timed] = []

    def add(self, state: TrainState, timed: Timed) -> None:
        """Take in one step."""
        report = timed.report
        self.meter.update(state.step, loss=report.loss, lr=report.lr, step_s=timed.step_s)
        self.window.append(timed)
        if not self.due(state.step):
            return
        reports = [one.report for one in self.window]
        seen, tokens = total([one.tokens for one in reports if one.tokens]) or (None, None)
        self.journal.write(
            "train",
            step=state.step,
            images=sum(one.images for one in reports),
            tokens=tokens,
            tokens_seen=seen,
            loss=_mean([one.loss for one in reports]),
            losses={name: _mean([one.losses[name] for one in reports]) for name in report.losses},
            lr=report.lr,
            grad_norm=report.grad_norm,
            step_s=_mean([one.step_s for one in self.window]),
            data_s=_mean([one.data_s for one in self.window]),
        )
        self.window.clear()


def evaluation(
    recipe: CompletedRecipe,
    split: CocoSplit,
    device: torch.device,
    journal: Journal,
    progress: Progress,
    better: Better,
    found: list[Scored],
) -> Action:
    """Score the val split; `better` is called when the box AP is the best so far."""

    def act(state: TrainState, _: Timed) -> None:
        best = max(
            (record[BEST.key] or 0 for record in journal.read() if record["event"] == "eval"),
            default=-1.0,
        )
        scored = score_model(state.model, recipe, split, device, progress)
        values = scored.ap.values
        told = [one for one in ACCURACIES if one.in_journal and one.key in values]
        numbers = {one.key: values[one.key] for one in told}
        journal.write("eval", step=state.step, **numbers, eval_s=scored.seconds)
        shown = "  ".join(f"{one.key} {one.text(values[one.key])}" for one in told)
        progress.say(f"step {state.step}: {shown}")
        if (values[BEST.key] or 0) > best:
            better(state, numbers)
        found[:] = [scored]

    return act


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
