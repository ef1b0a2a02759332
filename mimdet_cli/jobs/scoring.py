"""Score a checkpoint on the val split, or anybody's results file: AP, predictions, pictures."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mimdet_cli.build import choose_device, read_split
from mimdet_cli.console import Console
from mimdet_cli.data.coco import CocoSplit
from mimdet_cli.data.loader import eval_loader
from mimdet_cli.engine.files import write_text
from mimdet_cli.evaluation.coco_ap import ApReport, score
from mimdet_cli.evaluation.inference import detect
from mimdet_cli.evaluation.result_file import load_results
from mimdet_cli.evaluation.results import ImageResult, to_coco, write_predictions
from mimdet_cli.jobs.pictures import write_sheet
from mimdet_cli.jobs.run_folder import match_classes, open_checkpoint
from mimdet_cli.recipe.schema import Recipe
from mimdet_cli.reporting.charts import pr_curves

PIXELS_PER_BATCH = 800 * 1333


@dataclass(frozen=True, slots=True)
class Scored:
    """AP of one pass over a split, and the predictions behind it."""

    ap: ApReport
    results: Sequence[ImageResult]
    entries: Sequence[dict[str, Any]]
    seconds: float


@dataclass(frozen=True, slots=True)
class ScoringReport:
    """What `mimdet eval` shows."""

    ap: ApReport
    checkpoint: Path | None = None
    step: int | None = None
    folder: Path | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The AP report, and which checkpoint it is of."""
        extra = {
            "checkpoint": _text(self.checkpoint),
            "step": self.step,
            "folder": _text(self.folder),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
        }
        return {**self.ap.to_json(), **extra}

    def lines(self) -> list[str]:
        """Lines for a person."""
        lines = []
        if self.checkpoint is not None:
            lines.append(f"checkpoint {self.checkpoint} (step {self.step})")
        lines += ap_lines(self.ap)
        if self.folder is not None:
            lines.append(f"predictions and pictures: {self.folder}")
        return lines


def score_run(
    run: Path,
    *,
    data: str | Path | None,
    overrides: Sequence[str],
    device: str | None,
    console: Console,
) -> ScoringReport:
    """AP of a run's checkpoint on the val split; predictions and pictures go to `RUN/eval`."""
    checkpoint = open_checkpoint(run, overrides, data)
    console.say(f"checkpoint {checkpoint.folder} (step {checkpoint.step})")
    recipe = checkpoint.recipe
    split = read_split(recipe.data, "val", recipe.head.mask)
    match_classes(checkpoint.categories, split.categories, split.annotation_file)
    for note in split.notes:
        console.warn(f"val: {note}")
    chosen = choose_device(device)
    scored = score_model(checkpoint.detector(chosen), recipe, split, chosen, console)
    save_scored(scored, split, checkpoint.eval_folder)
    return ScoringReport(
        scored.ap, checkpoint.folder, checkpoint.step, checkpoint.eval_folder, scored.seconds
    )


def score_file(results: Path, annotations: Path) -> ScoringReport:
    """AP of a COCO results file."""
    found = load_results(results, annotations)
    return ScoringReport(score(annotations, found.entries, masks=found.masks))


def score_model(
    model: nn.Module, recipe: Recipe, split: CocoSplit, device: torch.device, console: Console
) -> Scored:
    """AP of `model` over the whole of `split`."""
    began = time.perf_counter()
    torch.manual_seed(recipe.seed)  # a share of the tokens below one is drawn at random
    sides = recipe.data.eval_short_side * recipe.data.eval_max_side
    batch = max(1, min(8, PIXELS_PER_BATCH // sides))
    loader = eval_loader(split, recipe.data, batch=batch, pin_memory=device.type == "cuda")
    with console.progress(len(split), "evaluating") as progress:
        results = detect(model, loader, device, on_image=lambda _: progress.advance())
    entries = to_coco(results, split.categories)
    ap = score(split.annotation_file, entries, masks=recipe.head.mask and split.has_masks)
    return Scored(ap, results, entries, time.perf_counter() - began)


def save_scored(scored: Scored, split: CocoSplit, folder: Path) -> None:
    """Predictions, numbers and pictures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(scored.entries, folder / "predictions.json")
    write_text(folder / "results.json", json.dumps(scored.ap.to_json(), indent=1) + "\n")
    write_sheet(folder / "predictions.png", split, scored.results)
    pr_curves(scored.ap, folder / "precision_recall.png")


def ap_lines(ap: ApReport) -> list[str]:
    """`box AP ...` and `mask AP ...`, a line each."""
    lines = []
    for name, row in (("box", ap.box), ("mask", ap.mask)):
        if row is not None:
            rest = (("AP50", row.AP50), ("AP75", row.AP75), ("APs", row.APs), ("APm", row.APm))
            more = (*rest, ("APl", row.APl), ("AR100", row.AR100))
            shown = "  ".join(f"{key} {points(value)}" for key, value in more)
            lines.append(f"{name + ' AP':8s}{points(row.AP):>5s}   {shown}")
    return lines


def points(value: float | None) -> str:
    """Points of 100 with one decimal, or a dash where undefined."""
    return "-" if value is None else f"{value:.1f}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
