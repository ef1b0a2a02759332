"""The layout of a run folder, and how to open a checkpoint in it.

recipe.yaml  environment.json  weights.json  metrics.jsonl  step-N/  last/  best/
plugin.json  only for a third-party backbone, also in each checkpoint
eval/NAME/   predictions.json, results.json and plots of a scored checkpoint
curves.png   README.md
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from backbones.options.effects import Effect
from heads.mask_rcnn import MaskRCNN
from mimdet_cli import plugins
from mimdet_cli.build import build_detector, complete
from mimdet_cli.data.annotations import Category
from mimdet_cli.engine.checkpoint import MANIFEST, MODEL, is_whole, read_manifest, steps
from mimdet_cli.errors import DataError, MimdetError, RecipeError, ResourceError, WeightsError
from mimdet_cli.files import write_text
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import ResolvedRecipe, dump, load_recipe
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import CompletedRecipe
from mimdet_cli.seeding import preserve_random_state
from mimdet_cli.weights.read import read_tensors
from mimdet_cli.words import first_of

SHOWN = 8
RECIPE = "recipe.yaml"
CLASSES = "classes.json"
PLUGIN = "plugin.json"
METRICS = "metrics.jsonl"
ENVIRONMENT = "environment.json"
WEIGHTS = "weights.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint folder with the recipe and classes that it was trained with."""

    folder: Path
    recipe: CompletedRecipe
    categories: tuple[Category, ...]
    step: int

    @property
    def eval_folder(self) -> Path:
        """The folder for its predictions: `RUN/eval/NAME`, or inside it outside of a run."""
        run = self.folder.parent
        standalone = not (run / METRICS).exists()
        return self.folder / "eval" if standalone else run / "eval" / self.folder.name

    def detector(self, device: torch.device) -> MaskRCNN:
        """Load the trained model on `device`, in evaluation mode."""
        with preserve_random_state():
            detector = build_detector(self.recipe, len(self.categories))
        path = self.folder / MODEL
        try:
            detector.load_state_dict(read_tensors(path))
        except RuntimeError as error:
            raise WeightsError(
                f"the checkpoint does not fit its recipe: {_first_line(error)}",
                where=str(path),
                fix="do not override the backbone or head of a trained model.",
            ) from error
        detector.to(device).eval()
        if self.recipe.train.channels_last:
            detector.to(memory_format=torch.channels_last)
        return detector


def open_checkpoint(
    path: Path, overrides: Sequence[Override] = (), data: str | Path | None = None
) -> Checkpoint:
    """Open a checkpoint: of a run (its `last/`), or a run's `last/`, `best/` or `step-N/`."""
    folder = path if (path / MANIFEST).is_file() else path / "last"
    if not path.exists():
        raise WeightsError(f"there is no run at {path}.", fix="give a run folder.")
    if not is_whole(folder):
        raise WeightsError(
            "there is no complete checkpoint.",
            where=f"{path}; looked for {MANIFEST} in it and in {folder}",
            fix="give a run folder with a last/, or a checkpoint folder in one.",
        )
    resolved = load_recipe(folder / RECIPE, overrides, data=data)
    resolved = complete(with_its_backbone(resolved, folder))
    categories = [Category(**entry) for entry in json.loads((folder / CLASSES).read_text("utf-8"))]
    return Checkpoint(folder, resolved.recipe, tuple(categories), read_manifest(folder)["step"])


def with_its_backbone(resolved: ResolvedRecipe, folder: Path) -> ResolvedRecipe:
    """Pin a third-party backbone to the distribution that `folder` was made with.

    Raises if that distribution is not installed. Built-in backbones are unchanged.
    """
    file = folder / PLUGIN
    if not file.is_file():
        return resolved
    section = resolved.recipe.backbone
    name = plugins.pinned_name(section.name, json.loads(file.read_text("utf-8")), str(file))
    changed = {"backbone": section.model_copy(update={"name": name})}
    return replace(resolved, recipe=resolved.recipe.model_copy(update=changed))


def sidecar_files(recipe: CompletedRecipe, categories: Sequence[Category]) -> dict[str, str]:
    """The small files, by name, that make a checkpoint self-contained."""
    classes = [{"id": category.id, "name": category.name} for category in categories]
    files = {RECIPE: dump(recipe), CLASSES: json.dumps(classes, indent=1) + "\n"}
    return files | plugin_file(recipe)


def plugin_file(recipe: CompletedRecipe) -> dict[str, str]:
    """The file that records a third-party backbone's distribution; empty for a built-in one."""
    plugin = plugins.record(recipe.backbone.name)
    return {} if plugin is None else {PLUGIN: json.dumps(plugin, indent=1) + "\n"}


def start(run: Path, recipe: CompletedRecipe, weights: Sequence[Mapping[str, Any]]) -> None:
    """Create the folder and write the recipe and the records of the weights files."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / RECIPE, dump(recipe))
        write_text(run / WEIGHTS, json.dumps(weights, indent=1) + "\n")
        for name, text in plugin_file(recipe).items():
            write_text(run / name, text)
    except OSError as error:
        raise ResourceError(
            f"cannot write the run folder: {error.strerror}.",
            where=str(run),
            fix="give another folder.",
        ) from error


def newest_step(run: Path, recipe: CompletedRecipe) -> Path | None:
    """The checkpoint to resume from; None if the run stopped before its first one."""
    if not (run / RECIPE).is_file():
        raise RecipeError(
            "there is no run to resume.",
            where=str(run),
            fix="start a new run there without resume, or correct the folder.",
        )
    changed = _changes(complete(load_recipe(run / RECIPE)).recipe, recipe)
    if changed:
        raise RecipeError.joined(changed)
    numbers = steps(run)
    if not numbers and is_whole(run / "last"):
        raise RecipeError(
            "this run has weights but no step to resume from; it was converted, or its step "
            "folders were deleted.",
            where=str(run),
            fix="start a new run from its weights: --set init.weights=null "
            f"--set init.checkpoint={run}.",
        )
    return run / f"step-{numbers[-1]}" if numbers else None


def match_classes(model: Sequence[Category], split: Sequence[Category], file: Path) -> None:
    """Raise unless the data has the model's classes in the same order."""
    ours, theirs = [c.name for c in model], [c.name for c in split]
    if ours == theirs:
        return
    only_ours = first_of(sorted(set(ours) - set(theirs)), SHOWN) or "none"
    only_theirs = first_of(sorted(set(theirs) - set(ours)), SHOWN) or "none"
    raise DataError(
        f"the classes differ: the model has {len(ours)}, the data {len(theirs)}; "
        f"only in the model: {only_ours}; only in the data: {only_theirs}.",
        where=str(file),
        fix="use annotations with the model's training classes, in the same order.",
    )


def differing(old: CompletedRecipe, new: CompletedRecipe) -> dict[str, tuple[Any, Any]]:
    """Both values of every key that differs, except keys that have no effect on results."""
    before, after = (dict(flatten(recipe.model_dump(mode="json"))) for recipe in (old, new))
    ignored = keys_with(Effect.NOTHING, options=type(new.backbone.options))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key not in ignored
    }


def _changes(old: CompletedRecipe, new: CompletedRecipe) -> list[MimdetError]:
    return [
        RecipeError(
            f"'{key}' is {after!r}, but the run was started with {before!r}.",
            where="resume",
            fix="resume with the same recipe and overrides, or start a new run.",
        )
        for key, (before, after) in differing(old, new).items()
    ]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(lines[:2])
