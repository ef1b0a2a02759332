"""Periodic actions of a training run: log, show progress, evaluate."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.engine.journal import Journal
from mimdet_cli.engine.loop import Action, Timed, When
from mimdet_cli.engine.state import TrainState
from mimdet_cli.engine.step import total
from mimdet_cli.evaluation.metrics import ACCURACIES, BEST
from mimdet_cli.jobs.scoring import Scored, score_model
from mimdet_cli.progress import Progress, StepMeter
from mimdet_cli.recipe.schema import CompletedRecipe

OnBest = Callable[[TrainState, Mapping[str, Any]], None]


def every_step(step: int) -> bool:
    """Always due."""
    return True


class Means:
    """Shows every step; when a log line is due, writes the means since the previous one."""

    def __init__(self, journal: Journal, meter: StepMeter, due: When) -> None:
        self.journal = journal
        self.meter = meter
        self.due = due
        self.window: list[Timed] = []

    def add(self, state: TrainState, timed: Timed) -> None:
        """Record one step."""
        report = timed.report
        self.meter.update(state.step, loss=report.loss, lr=report.lr, step_s=timed.step_s)
        self.window.append(timed)
        if not self.due(state.step):
            return
        reports = [step.report for step in self.window]
        seen, tokens = total([step.tokens for step in reports if step.tokens]) or (None, None)
        self.journal.write(
            "train",
            step=state.step,
            images=sum(step.images for step in reports),
            tokens=tokens,
            tokens_seen=seen,
            loss=_mean([step.loss for step in reports]),
            losses={name: _mean([step.losses[name] for step in reports]) for name in report.losses},
            lr=report.lr,
            grad_norm=report.grad_norm,
            step_s=_mean([step.step_s for step in self.window]),
            data_s=_mean([step.data_s for step in self.window]),
        )
        self.window.clear()


def evaluation(
    recipe: CompletedRecipe,
    split: CocoSplit,
    device: torch.device,
    journal: Journal,
    progress: Progress,
    on_best: OnBest,
    latest: list[Scored],
) -> Action:
    """Score the val split into `latest`; `on_best` is called for the best box AP so far."""

    def act(state: TrainState, _: Timed) -> None:
        best = max(
            (record[BEST.key] or 0 for record in journal.read() if record["event"] == "eval"),
            default=-1.0,
        )
        scored = score_model(state.model, recipe, split, device, progress)
        values = scored.ap.values
        metrics = [metric for metric in ACCURACIES if metric.in_journal and metric.key in values]
        numbers = {metric.key: values[metric.key] for metric in metrics}
        journal.write("eval", step=state.step, **numbers, eval_s=scored.seconds)
        shown = "  ".join(f"{metric.key} {metric.text(values[metric.key])}" for metric in metrics)
        progress.say(f"step {state.step}: {shown}")
        if (values[BEST.key] or 0) > best:
            on_best(state, numbers)
        latest[:] = [scored]

    return act


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
