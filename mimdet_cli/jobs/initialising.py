"""Load the weights of the recipe's `init` into a new detector: from files, or from a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.data.annotations import Category
from mimdet_cli.engine.checkpoint import MODEL
from mimdet_cli.errors import RecipeError, WeightsError
from mimdet_cli.jobs.run_folder import WEIGHTS, Checkpoint, open_checkpoint
from mimdet_cli.progress import Progress
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import CompletedRecipe, Init, Recipe
from mimdet_cli.weights.load import load_weights
from mimdet_cli.weights.locate import LocatedWeights, locate, pixel_warnings
from mimdet_cli.weights.read import read_tensors
from mimdet_cli.weights.transfer import transfer
from mimdet_cli.words import counted, first_of

SHOWN = 8


def find_checkpoint(init: Init) -> Checkpoint | None:
    """The checkpoint of `init.checkpoint`, None if that is null; raises if it is missing."""
    if init.checkpoint is None:
        return None
    path = Path(init.checkpoint).expanduser()
    if not path.exists():
        raise WeightsError(
            f"there is no run or checkpoint at {path}.",
            where="init.checkpoint",
            fix="give a run folder, or its best, last or step-N.",
        )
    return open_checkpoint(path)


def initialise(
    detector: MaskRCNN, recipe: CompletedRecipe, categories: Sequence[Category], progress: Progress
) -> list[dict[str, Any]]:
    """Load the recipe's weights; returns a record of each file for the run folder."""
    checkpoint = find_checkpoint(recipe.init)
    if checkpoint is not None:
        return [_load_run(detector, checkpoint, recipe, categories, progress)]
    sources = locate(recipe.init)
    if recipe.init.weights is None:
        progress.say("weights: random, because init.weights is null")
    for warning in pixel_warnings(sources, recipe.data):
        progress.warn(warning)
    return [_load_file(detector, source, recipe, progress) for source in sources]


def _load_file(
    detector: MaskRCNN, source: LocatedWeights, recipe: CompletedRecipe, progress: Progress
) -> dict[str, Any]:
    maps = detector.backbone.key_maps
    if source.format not in maps:
        raise RecipeError(
            f"the backbone '{recipe.backbone.name}' cannot read '{source.format}' files.",
            where="init.format",
            fix=f"it reads {', '.join(maps) or 'none'}.",
        )
    report = load_weights(
        detector, maps[source.format], source.path, source.format, recipe.init.allow_missing
    )
    for line in report.lines():
        progress.say(line)
    provenance = source.provenance()
    if provenance["licence"]:
        progress.say(f"  licence: {provenance['licence']}")
    return {**report.to_json(), "lines": report.lines(), **provenance}


def _load_run(
    detector: MaskRCNN,
    checkpoint: Checkpoint,
    recipe: Recipe,
    categories: Sequence[Category],
    progress: Progress,
) -> dict[str, Any]:
    """Load a run's weights into `detector`, which was built from `recipe` for `categories`."""
    theirs = [category.name for category in checkpoint.categories]
    ours = [category.name for category in categories]
    file = checkpoint.folder / MODEL
    report = transfer(
        detector,
        read_tensors(file),
        detector.backbone.key_maps,
        same_classes=theirs == ours,
        file=file,
        fix=_fix(checkpoint.recipe, recipe),
    )
    lines = [_about_classes(theirs, ours, report.fresh), *report.lines()]
    licence = _licence(checkpoint.folder)
    progress.say(f"fine-tuning from {checkpoint.folder} (step {checkpoint.step})")
    for line in lines:
        progress.say(line)
    for line in _other_pixels(checkpoint.recipe, recipe):
        progress.warn(line)
    if licence:
        progress.say(f"  licence of its initial weights: {licence}")
    return {**report.to_json(), "lines": lines, "licence": licence, "step": checkpoint.step}


def _about_classes(theirs: Sequence[str], ours: Sequence[str], fresh: Sequence[str]) -> str:
    if theirs == ours:
        return f"classes: the same {len(ours)} as in the checkpoint"
    if sorted(theirs) == sorted(ours):
        how = "the same names in a different order"
    else:
        names = [name for name in ours if name not in theirs]
        how = f"new here: {first_of(names, SHOWN) or 'none'}"
    layers = dict.fromkeys(key.rpartition(".")[0] for key in fresh)
    return (
        f"classes: {len(theirs)} in the checkpoint, {len(ours)} here ({how}); "
        f"{counted(len(layers), 'layer')} reset: {', '.join(layers)}"
    )


def _fix(there: Recipe, here: Recipe) -> str:
    """Names the model options that differ, one of which must cause the shape mismatch."""
    before, after = (
        dict(flatten(recipe.model_dump(mode="json", include={"backbone", "head"})))
        for recipe in (there, here)
    )
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    values = first_of([f"{key} ({before.get(key, 'absent')!s})" for key in keys], SHOWN)
    return f"use the checkpoint's values of the options that differ: {values or 'none'}."


def _other_pixels(there: Recipe, here: Recipe) -> list[str]:
    return [
        f"the checkpoint was trained with data.{key} {list(getattr(there.data, key))}, "
        f"this recipe has {list(getattr(here.data, key))}."
        for key in ("pixel_mean", "pixel_std")
        if getattr(there.data, key) != getattr(here.data, key)
    ]


def _licence(folder: Path) -> str | None:
    """The licences of the initial weights of the checkpoint's run; None if unknown."""
    path = folder.parent / WEIGHTS
    if not path.is_file():
        return None
    records = json.loads(path.read_text(encoding="utf-8"))
    return "; ".join(sorted({file["licence"] for file in records if file["licence"]})) or None
