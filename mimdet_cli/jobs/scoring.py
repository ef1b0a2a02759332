"""Score a checkpoint on the val split, or any COCO results file: AP, predictions, plots."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mimdet_cli.build import choose_device, read_split
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.data.loader import eval_loader
from mimdet_cli.evaluation.coco_ap import ApReport, score
from mimdet_cli.evaluation.inference import detect
from mimdet_cli.evaluation.metrics import by_task
from mimdet_cli.evaluation.result_file import load_results
from mimdet_cli.evaluation.results import ImageResult, to_coco, write_predictions
from mimdet_cli.files import make_folder, write_text
from mimdet_cli.jobs.pictures import write_sheet
from mimdet_cli.jobs.run_folder import differing, match_classes, open_checkpoint
from mimdet_cli.jobs.token_sampling import (
    at_ratio,
    eval_ratio,
    refuse_equal_evals,
    sampled_evals,
    sampling_of,
)
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.schema import CompletedRecipe
from mimdet_cli.reporting.charts import pr_curves
from mimdet_cli.words import counted

PIXELS_PER_BATCH = 800 * 1333
RESULTS = "the results folder"


@dataclass(frozen=True, slots=True)
class Scored:
    """AP on a split, its predictions, and how they were made.

    `ratio` is the share of tokens that the model saw, None for a backbone that does not drop any;
    `evals` is the number of evaluations of each image that were merged.
    """

    ap: ApReport
    results: Sequence[ImageResult]
    entries: Sequence[dict[str, Any]]
    seconds: float
    ratio: float | None = None
    evals: int = 1

    def to_json(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {**self.ap.to_json(), "ratio": self.ratio, "evals": self.evals}


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """What `mimdet eval` reports."""

    ap: ApReport
    checkpoint: Path | None = None
    step: int | None = None
    folder: Path | None = None
    seconds: float | None = None
    ratio: float | None = None
    evals: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The AP report, with the checkpoint and how it was evaluated."""
        extra = {
            "ratio": self.ratio,
            "evals": self.evals,
            "checkpoint": _text(self.checkpoint),
            "step": self.step,
            "folder": _text(self.folder),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
        }
        return {**self.ap.to_json(), **extra}

    def lines(self) -> list[str]:
        """The report as text."""
        lines = []
        if self.checkpoint is not None:
            lines.append(f"checkpoint {self.checkpoint} (step {self.step})")
        if self.evals is not None and (self.evals > 1 or (self.ratio or 1) < 1):
            shown = counted(self.evals, "evaluation")
            lines.append(f"{shown} of each image, {self.ratio:.4g} of the tokens")
        lines += ap_lines(self.ap)
        if self.folder is not None:
            lines.append(f"predictions and plots: {self.folder}")
        return lines


def score_run(
    run: Path,
    *,
    data: str | Path | None = None,
    overrides: Sequence[Override] = (),
    device: str | None = None,
    progress: Progress = QUIET,
    ratio: float | None = None,
    evals: int = 1,
    folder: Path | None = None,
) -> ScoringReport:
    """AP of a run's checkpoint on the val split, from `evals` evaluations of each image.

    `ratio` is the share of tokens seen (default: the recipe's). Predictions and plots go to
    `folder`, by default `RUN/eval/NAME`. NAME is the checkpoint's, with suffixes for settings that
    differ from the run's own evaluation, such as `last-ratio0.5-evals4`; other overrides are
    represented by a digest of their values: `last-set-0f31c2d9`.
    """
    own = open_checkpoint(run, data=data).recipe
    checkpoint = open_checkpoint(run, overrides, data)
    if ratio is not None:
        recipe = at_ratio(checkpoint.recipe, ratio, overrides=overrides)
        checkpoint = replace(checkpoint, recipe=recipe)
    progress.say(f"checkpoint {checkpoint.folder} (step {checkpoint.step})")
    recipe = checkpoint.recipe
    refuse_equal_evals(recipe, evals)
    if folder is None:
        folder = _named(checkpoint.eval_folder, recipe, own, evals)
    split = read_split(recipe.data, "val", recipe.head.mask)
    match_classes(checkpoint.categories, split.categories, split.annotation_file)
    for note in split.notes:
        progress.warn(f"val: {note}")
    chosen = choose_device(device)
    model = checkpoint.detector(chosen)
    make_folder(folder, RESULTS)
    scored = score_model(model, recipe, split, chosen, progress, evals)
    save_scored(scored, split, folder)
    return ScoringReport(
        scored.ap,
        checkpoint.folder,
        checkpoint.step,
        folder,
        scored.seconds,
        scored.ratio,
        scored.evals,
    )


def score_file(results: Path, annotations: Path) -> ScoringReport:
    """AP of a COCO results file."""
    content = read_ground_truth(annotations)
    loaded = load_results(results, content)
    return ScoringReport(score(content, loaded.entries, masks=loaded.masks))


def score_model(
    model: nn.Module,
    recipe: CompletedRecipe,
    split: CocoSplit,
    device: torch.device,
    progress: Progress,
    evals: int = 1,
) -> Scored:
    """AP of `model` on all of `split`; tokens are sampled from the recipe's seed."""
    began = time.perf_counter()
    sampled = sampled_evals(recipe, evals)
    sides = recipe.data.eval_short_side * recipe.data.eval_max_side
    batch = max(1, min(8, PIXELS_PER_BATCH // sides))
    loader = eval_loader(split, recipe.data, batch=batch, pin_memory=device.type == "cuda")
    with progress.items(len(split), "evaluating") as done:
        results = detect(model, loader, device, on_image=lambda _: done.advance(), sampled=sampled)
    entries = to_coco(results, split.categories)
    masks = recipe.head.mask and split.has_masks
    assert split.ground_truth is not None  # `read_split` keeps it for val splits
    ap = score(split.ground_truth.content(), entries, masks=masks)
    seconds = time.perf_counter() - began
    return Scored(ap, results, entries, seconds, eval_ratio(recipe), evals)


def save_scored(scored: Scored, split: CocoSplit, folder: Path) -> None:
    """Write predictions, metrics and plots to `folder`."""
    make_folder(folder, RESULTS)
    write_predictions(scored.entries, folder / "predictions.json")
    write_text(folder / "results.json", json.dumps(scored.to_json(), indent=1) + "\n")
    write_sheet(folder / "predictions.png", split, scored.results)
    pr_curves(scored.ap, folder / "precision_recall.png")


def ap_lines(ap: ApReport) -> list[str]:
    """`box AP ...` and `mask AP ...`, one line each."""
    lines = []
    for metrics in by_task(ap.values).values():
        first, *rest = [metric for metric in metrics if metric.in_line]
        shown = "  ".join(f"{metric.label} {metric.text(ap.values[metric.key])}" for metric in rest)
        lines.append(f"{first.name:8s}{first.text(ap.values[first.key]):>5s}   {shown}")
    return lines


def _named(folder: Path, recipe: CompletedRecipe, own: CompletedRecipe, evals: int) -> Path:
    """`folder`, with suffixes for what differs from the run's `own` evaluation."""
    name = folder.name
    other = {key: value for key, (_, value) in differing(own, recipe).items()}
    declared = sampling_of(recipe)
    if declared is not None and other.pop(f"backbone.{declared.eval_option}", None) is not None:
        name += f"-ratio{declared.eval_ratio:g}"
    if other:
        digest = hashlib.sha256(json.dumps(other, sort_keys=True).encode())
        name += f"-set-{digest.hexdigest()[:8]}"
    if evals > 1:
        name += f"-evals{evals}"
    return folder.with_name(name)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
