"""The facts of a finished run, gathered for its README."""

import json
import shlex
from pathlib import Path

from mimdet_cli.data.coco import CocoSplit
from mimdet_cli.jobs.run_folder import ENVIRONMENT, WEIGHTS
from mimdet_cli.jobs.scoring import Scored
from mimdet_cli.recipe.schema import Recipe
from mimdet_cli.reporting.run_report import RunSummary, write_card

PICTURES = {
    "eval/last/predictions.png": "Ground truth and predictions on the val split",
    "curves.png": "Losses, learning rate and AP over the run",
    "eval/last/precision_recall.png": "Precision over recall on the val split",
}


def write_run_card(
    run: Path, recipe: Recipe, split: CocoSplit, scored: Scored | None, steps: int, train_s: float
) -> None:
    """Write `run/README.md` from the recipe, the data and what the run folder holds."""
    weights = json.loads((run / WEIGHTS).read_text(encoding="utf-8"))
    lines = [line for record in weights for line in record["lines"]]
    licences = sorted({record["licence"] for record in weights if record["licence"]})
    batch = recipe.train.batch
    summary = RunSummary(
        name=recipe.name,
        command=f"mimdet train recipe.yaml --data {shlex.quote(recipe.data.root or 'DIR')}",
        training={
            "backbone": recipe.backbone.name,
            "steps": f"{steps:,} of {batch} images",
            "seed": str(recipe.seed),
            "time": f"{train_s / 60:.1f} min",
        },
        data={
            "images": f"{len(split):,} ({len(split.usable()):,} with objects)",
            "objects": f"{len(split.objects):,}",
        },
        classes=[category.name for category in split.categories],
        weights=lines or ["random initial weights"],
        weights_licence="; ".join(licences) or None,
        environment=json.loads((run / ENVIRONMENT).read_text(encoding="utf-8")),
        ap=None if scored is None else scored.ap.to_json(),
        pictures=PICTURES,
        notes=split.notes,
    )
    write_card(run, summary)
