"""The paper: its published figures, and what sets our runs apart from its own.

Published figures are compared with the paper's own default cell only, never with ours. The
sentences on how our runs differ are derived from the record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from backbones.options.base import BackboneOptions
from backbones.options.effects import Role
from mimdet_cli.ablation.definition import Paper, Variant
from mimdet_cli.ablation.folder import AblationRecord, CellRecord, RunRecord
from mimdet_cli.ablation.judge.resampling import ScoredSplit
from mimdet_cli.backbone_options import options_class
from mimdet_cli.errors import PluginError, RecipeError
from mimdet_cli.evaluation.metrics import METRICS, Accuracy
from mimdet_cli.recipe.catalog import find_recipe, shipped
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe
from mimdet_cli.weights import catalog
from mimdet_cli.words import counted

COCO: Final = (5000, 80)
"""Images and classes of COCO val2017, which both papers evaluate on."""
WEIGHTS: Final = keys_with(Role.WEIGHTS)[0]
OTHER_GPU: Final = "other GPU"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """Published figures of a cell by metric key, in the paper's units.

    `relative` compares them with the paper's figures of the default cell: AP by difference in
    points, costs as multiples. `gpu` is that of the hours; `apart` says why those are not compared,
    if so.
    """

    values: Mapping[str, float]
    relative: Mapping[str, float]
    gpu: str | None
    apart: str | None


@dataclass(frozen=True, slots=True)
class TypicalRun:
    """A trained run that represents the others: its cell, its recipe and its val split."""

    cell: CellRecord
    recipe: ResolvedRecipe
    split: ScoredSplit


def paper_rows(paper: Mapping[str, Paper], default: str) -> dict[str, PaperRow]:
    """The published figures by cell."""
    base = paper.get(default, Paper())
    return {label: _row(figures, base, label == default) for label, figures in paper.items()}


def deviations(
    record: AblationRecord, typical: TypicalRun | None, runs: Mapping[str, RunRecord]
) -> list[str]:
    """Sentences on base, sizes, data, weights, seeds and devices, as far as anything has run."""
    return [
        *_of_base(record),
        *([] if typical is None else _of_recipe(record, typical)),
        *_of_seeds(record),
        *_of_devices(runs),
    ]


def _row(figures: Paper, base: Paper, is_default: bool) -> PaperRow:
    values = _values(figures)
    bases = _values(base)
    shared = [METRICS[key] for key in values if key in bases]
    other_gpu = figures.gpu is None or figures.gpu != base.gpu
    apart = OTHER_GPU if other_gpu and any(metric.paper.on_gpu for metric in shared) else None
    relative: dict[str, float] = {}
    for metric in shared:
        if is_default or (metric.paper.on_gpu and apart):
            continue
        value, of_default = values[metric.key], bases[metric.key]
        is_accuracy = isinstance(metric, Accuracy)
        relative[metric.key] = value - of_default if is_accuracy else value / of_default
    return PaperRow(values, relative, figures.gpu, apart)


def _values(paper: Paper) -> dict[str, float]:
    found = {key: paper.value(metric.paper.field) for key, metric in METRICS.items()}
    return {key: value for key, value in found.items() if value is not None}


def _of_recipe(record: AblationRecord, typical: TypicalRun) -> Iterator[str]:
    """How the recipe of a run deviates from the ablation's own, besides the keys that it varies."""
    variant = record.ablation.variants.get(typical.cell.training, Variant())
    named = variant.recipe or record.own_base
    varied = {*record.ablation.set, *record.ablation.axes, *variant.settings}
    try:
        own = load_recipe(shipped(named) or find_recipe(named))
    except RecipeError:  # a file that has been removed
        yield from _of_data(record, typical.split)
        return
    here, there = (
        {key: value for key, value in recipe.flat().items() if key not in varied}
        for recipe in (typical.recipe, own)
    )
    sizes = keys_with(Role.SIZE, options=_options(typical.recipe.recipe.backbone.name))
    yield from _of_sizes(typical.cell.label, sizes, here, there)
    yield from _of_data(record, typical.split)
    yield from _of_weights(here.get(WEIGHTS), there.get(WEIGHTS))


def _of_base(record: AblationRecord) -> Iterator[str]:
    if record.base != record.own_base:
        small = ", with every backbone at its tiny size" if record.small else ""
        yield f"Trained from `{record.base}` instead of `{record.own_base}`{small}."
    if record.overrides:
        yield (
            "Changed by `--set`: "
            + ", ".join(f"`{override}`" for override in record.overrides)
            + "."
        )


def _options(backbone: str) -> type[BackboneOptions] | None:
    """The options of a backbone; None for one that is not installed."""
    try:
        return options_class(backbone)
    except PluginError:
        return None


def _of_sizes(
    label: str, sizes: Sequence[str], here: Mapping[str, Any], there: Mapping[str, Any]
) -> Iterator[str]:
    """Model, images and length, where they deviate."""
    parts = [
        f"{key} {here[key]} ({there[key]})"
        for key in sizes
        if here.get(key) is not None and there.get(key) is not None and here[key] != there[key]
    ]
    ours, theirs = _length(here), _length(there)
    parts += [f"{ours} of training ({theirs})"] if ours and theirs and ours != theirs else []
    if parts:
        yield f"'{label}' has (in brackets, the ablation's own recipe): {', '.join(parts)}."


def _length(values: Mapping[str, Any]) -> str | None:
    steps, epochs = values.get("train.steps"), values.get("train.epochs")
    if steps is not None:
        return f"{steps:,} steps"
    return None if epochs is None else f"{epochs:g} epochs"


def _of_data(record: AblationRecord, split: ScoredSplit) -> Iterator[str]:
    if (split.images, split.classes) == COCO:
        return
    size = f"{counted(split.images, 'image')} of {counted(split.classes, 'class', 'classes')}"
    name = f"the embedded data set ({record.data})" if _is_demo(record) else f"'{split.name}'"
    paper = f"; the paper's figures are on COCO val2017, {COCO[0]:,} images of {COCO[1]} classes"
    yield f"Scored on {name}, {size}{paper if record.ablation.paper else ''}."


def _is_demo(record: AblationRecord) -> bool:
    return record.data is not None and record.data.startswith("demo ")


def _of_weights(ours: str | None, theirs: str | None) -> Iterator[str]:
    if ours == theirs or theirs is None:
        return
    if ours is not None:
        yield f"Trained from the weights `{ours}` instead of `{theirs}`."
        return
    known = catalog.entries().get(theirs)
    is_mae = known is not None and known.family in catalog.MAE_FAMILIES
    kind = "MIM pre-training" if is_mae else "pre-training"
    yield (
        f"Trained from random weights instead of `{theirs}`. Without {kind}, runs at small scale "
        "say nothing for or against the papers' claims about the accuracy that it gives."
    )


def _of_seeds(record: AblationRecord) -> Iterator[str]:
    if record.ablation.paper:
        yield (
            f"Each cell is planned with {counted(len(record.seeds), 'seed')}; the paper gives a "
            "single figure per cell, without a spread."
        )


def _of_devices(runs: Mapping[str, RunRecord]) -> Iterator[str]:
    devices = dict.fromkeys(run.device for run in runs.values() if run.device)
    if len(devices) == 1:
        yield f"Times are wall-clock times on {next(iter(devices))}, which may have run other work."
    elif devices:
        yield (
            f"Times and memory were measured on different devices ({'; '.join(devices)}) and are "
            f"compared only between cells on the same device."
        )
