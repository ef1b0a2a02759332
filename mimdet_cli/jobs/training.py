"""A training run: read the data, build, load weights, fit, evaluate, save, report."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backbones.options.effects import Role
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import (
    build_detector,
    build_state,
    build_step,
    choose_device,
    complete,
    read_split,
    step_batches,
    usable_precision,
)
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.engine.checkpoint import restore, save_step, save_weights
from mimdet_cli.engine.journal import Journal
from mimdet_cli.engine.loop import Action, Timed, When, at, fit, spread
from mimdet_cli.engine.schedule import scaled_lr, total_steps
from mimdet_cli.engine.state import TrainState
from mimdet_cli.files import write_text
from mimdet_cli.jobs.actions import Means, evaluation, every_step
from mimdet_cli.jobs.initialising import find_checkpoint, initialise
from mimdet_cli.jobs.readme import summarise, write_run_readme
from mimdet_cli.jobs.run_folder import (
    ENVIRONMENT,
    METRICS,
    match_classes,
    newest_step,
    sidecar_files,
    start,
    with_its_backbone,
)
from mimdet_cli.jobs.scoring import Scored, ap_lines, save_scored, score_model
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import ResolvedRecipe
from mimdet_cli.recipe.schema import CompletedRecipe, Data
from mimdet_cli.reporting.charts import training_curves
from mimdet_cli.reporting.environment import environment
from mimdet_cli.weights.locate import locate
from mimdet_cli.words import counted

MANY_PASSES = 200


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What `mimdet train` reports: the run folder, the duration and the final AP."""

    run: Path
    steps: int
    train_s: float
    scored: Scored | None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; `ap` is as in `mimdet eval --json`, null if not evaluated."""
        return {
            "run": str(self.run),
            "steps": self.steps,
            "train_s": round(self.train_s, 2),
            "ap": None if self.scored is None else self.scored.ap.to_json(),
        }

    def lines(self) -> list[str]:
        """The report as text."""
        minutes, seconds = divmod(round(self.train_s), 60)
        lines = [] if self.scored is None else ap_lines(self.scored.ap)
        return [
            *lines,
            f"trained {self.steps:,} steps in {minutes} min {seconds:02d} s",
            f"run folder with plots: {self.run}",
        ]


@dataclass(frozen=True, slots=True)
class Splits:
    """The data of a run; `val` is None without evaluation."""

    train: CocoSplit
    val: CocoSplit | None


def train(
    resolved: ResolvedRecipe,
    *,
    out: Path,
    resume: bool = False,
    device: str | None = None,
    progress: Progress = QUIET,
) -> TrainingReport:
    """Train a recipe and write the run folder `out`; with `resume`, continue the run in it."""
    if resume:
        with_its_backbone(resolved, out)  # a missing plugin: say what to install
    recipe = _with_absolute_paths(complete(resolved).recipe)
    chosen = choose_device(device)
    if not resume:
        locate(recipe.init)  # report missing weights before reading the data
        find_checkpoint(recipe.init)
    splits = _read_splits(recipe)
    recipe = _with_masks_of(splits.train, recipe)
    checkpoint = newest_step(out, recipe) if resume else None
    _log_data(splits, progress)
    steps = total_steps(recipe, len(splits.train))
    detector = build_detector(recipe, len(splits.train.categories))
    if checkpoint is None:
        start(out, recipe, initialise(detector, recipe, splits.train.categories, progress))
    state = build_state(recipe, detector, chosen)
    journal = Journal(out / METRICS)
    if checkpoint is not None:
        restore(state, checkpoint)
        progress.say(f"resuming {out} after step {state.step} of {steps}")
    journal.rewind(state.step)
    before = _spent_s(journal, recipe.train.batch)
    write_text(out / ENVIRONMENT, json.dumps(environment(), indent=1) + "\n")
    _log_plan(recipe, detector, steps, len(splits.train), chosen, progress)
    began = time.perf_counter()
    scored = _fit(recipe, state, splits, steps, chosen, out, journal, progress)
    elapsed = before + time.perf_counter() - began
    if scored is None and splits.val is not None:  # resumed after its last evaluation
        scored = score_model(state.model, recipe, splits.val, chosen, progress)
    training_curves(journal.read(), out / "curves.png")
    if scored is not None and splits.val is not None:
        save_scored(scored, splits.val, out / "eval" / "last")
    write_run_readme(out, summarise(out, recipe, splits.train, scored, state.step, elapsed))
    return TrainingReport(out, state.step, elapsed, scored)


def _fit(
    recipe: CompletedRecipe,
    state: TrainState,
    splits: Splits,
    steps: int,
    device: torch.device,
    run: Path,
    journal: Journal,
    progress: Progress,
) -> Scored | None:
    """Train to the end; returns the last evaluation, if any."""
    files = sidecar_files(recipe, splits.train.categories)
    latest: list[Scored] = []

    def save(state: TrainState, _: Timed) -> None:
        save_step(run, state, files, keep=recipe.train.keep)

    def save_best(state: TrainState, ap: Mapping[str, Any]) -> None:
        save_weights(run / "best", state, files, ap)

    saved = spread(recipe.train.saves, steps)
    # log at every saved step too, so that a resumed run has a complete journal up to its start
    logged = saved | set(range(0, steps, recipe.train.log_every))
    every: list[tuple[When, Action]] = []
    with progress.steps(steps, start=state.step, every=recipe.train.log_every) as meter:
        every.append((every_step, Means(journal, meter, at(logged)).add))
        if splits.val is not None:
            action = evaluation(recipe, splits.val, device, journal, progress, save_best, latest)
            every.append((at(spread(recipe.train.evals, steps)), action))
        every.append((at(saved), save))
        batches = step_batches(recipe, splits.train, device, state.step, steps)
        fit(state, batches, build_step(recipe, steps, device), every)
    return latest[-1] if latest else None


def _spent_s(journal: Journal, batch: int) -> float:
    """Seconds that earlier parts of the run took, from its journal."""
    records = journal.read()
    trained = (r["step_s"] * r["images"] / batch for r in records if r["event"] == "train")
    return sum(trained) + sum(r["eval_s"] for r in records if r["event"] == "eval")


def _with_absolute_paths(recipe: CompletedRecipe) -> CompletedRecipe:
    """Make the data paths independent of the working folder."""
    given = {key: getattr(recipe.data, key) for key in keys_with(Role.DATA_PATH, Data)}
    absolute = {key: str(Path(p).expanduser().absolute()) for key, p in given.items() if p}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=absolute)})


def _read_splits(recipe: CompletedRecipe) -> Splits:
    train_split = read_split(recipe.data, "train", recipe.head.mask)
    if recipe.train.evals == 0:
        return Splits(train_split, None)
    val = read_split(recipe.data, "val", recipe.head.mask)
    match_classes(train_split.categories, val.categories, val.annotation_file)
    return Splits(train_split, val)


def _with_masks_of(split: CocoSplit, recipe: CompletedRecipe) -> CompletedRecipe:
    """The recipe, without a mask head if the data has no masks."""
    head = recipe.head.model_copy(update={"mask": recipe.head.mask and split.has_masks})
    return recipe.model_copy(update={"head": head})


def _log_data(splits: Splits, progress: Progress) -> None:
    for name, split in (("train", splits.train), ("val", splits.val)):
        if split is None:
            continue
        progress.say(
            f"{name}: {counted(len(split), 'image')} ({len(split.usable()):,} with objects), "
            f"{counted(len(split.objects), 'object')}, "
            f"{counted(len(split.categories), 'class', 'classes')}"
        )
        for note in split.notes:
            progress.warn(f"{name}: {note}")


def _log_plan(
    recipe: CompletedRecipe,
    detector: MaskRCNN,
    steps: int,
    images: int,
    device: torch.device,
    progress: Progress,
) -> None:
    count = sum(parameter.numel() for parameter in detector.parameters())
    precision = usable_precision(recipe, device)
    progress.say(f"model: {count:,} parameters, {recipe.backbone.name}, {precision} on {device}")
    if precision != recipe.train.precision:
        progress.warn(f"{recipe.train.precision} needs a GPU; computing in {precision}.")
    seen = steps * recipe.train.batch
    passes = seen / images
    lr, base = scaled_lr(recipe), recipe.optimizer
    scaled = "" if lr == base.lr else f" ({base.lr:g} at batch {base.base_batch}, {base.scale})"
    progress.say(
        f"plan: {steps:,} steps x {recipe.train.batch} images = {seen:,} images, "
        f"{passes:,.1f} passes over the data; learning rate {lr:.3g}{scaled}"
    )
    if passes > MANY_PASSES and recipe.train.epoch_images:
        progress.warn(
            f"an epoch of this recipe is {recipe.train.epoch_images:,} images; "
            "use `--set train.epoch_images=null` for one pass over your data per epoch."
        )
