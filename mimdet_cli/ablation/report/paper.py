"""What sets an ablation's runs apart from the paper's, in sentences that follow from the record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backbones.options.base import BackboneOptions
from backbones.options.effects import Role
from mimdet_cli.ablation.definition import Variant
from mimdet_cli.ablation.folder import AblationRecord, CellRecord, RunRecord
from mimdet_cli.backbone_options import options_class
from mimdet_cli.errors import PluginError, RecipeError
from mimdet_cli.recipe.catalog import find_recipe, shipped
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe
from mimdet_cli.weights import catalog
from mimdet_cli.words import counted

COCO: Final = (5000, 80)
"""Images and classes of COCO val2017, on which both papers score."""
WEIGHTS: Final = keys_with(Role.WEIGHTS)[0]


@dataclass(frozen=True, slots=True)
class Split:
    """What is scored on: the annotation file, the data set's name, how many images and classes."""

    annotations: Path
    name: str
    images: int
    classes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A trained run that stands for the others: its cell, its recipe and its split."""

    cell: CellRecord
    recipe: ResolvedRecipe
    split: Split


def differences(
    record: AblationRecord, sample: Sample | None, runs: Mapping[str, RunRecord]
) -> list[str]:
    """Sentences on base, sizes, data, weights, seeds and devices; None before anything is run."""
    return [
        *_of_base(record),
        *([] if sample is None else _of_sample(record, sample)),
        *_of_seeds(record),
        *_of_devices(runs),
    ]


def _of_sample(record: AblationRecord, sample: Sample) -> Iterator[str]:
    """What the recipe of a run has, against the ablation's own, where neither was asked for."""
    variant = record.ablation.variants.get(sample.cell.training, Variant())
    named = variant.recipe or record.own_base
    varied = {*record.ablation.set, *record.ablation.axes, *variant.settings}
    try:
        own = load_recipe(shipped(named) or find_recipe(named))
    except RecipeError:  # a file that is not here any more
        yield from _of_data(record, sample.split)
        return
    here, there = (
        {key: value for key, value in one.flat().items() if key not in varied}
        for one in (sample.recipe, own)
    )
    sizes = keys_with(Role.SIZE, options=_options(sample.recipe.recipe.backbone.name))
    yield from _of_sizes(sample.cell.label, sizes, here, there)
    yield from _of_data(record, sample.split)
    yield from _of_weights(here.get(WEIGHTS), there.get(WEIGHTS))


def _of_base(record: AblationRecord) -> Iterator[str]:
    if record.base != record.own_base:
        small = ", every backbone at a small size" if record.small else ""
        yield f"Trained from `{record.base}` in place of `{record.own_base}`{small}."
    if record.overrides:
        yield "Changed by `--set`: " + ", ".join(f"`{one}`" for one in record.overrides) + "."


def _options(backbone: str) -> type[BackboneOptions] | None:
    """The options of a backbone; None for one that is not installed any more."""
    try:
        return options_class(backbone)
    except PluginError:
        return None


def _of_sizes(
    label: str, sizes: Sequence[str], here: Mapping[str, Any], there: Mapping[str, Any]
) -> Iterator[str]:
    """Model, images and length, each where it is another."""
    told = [
        f"{key} {here[key]} ({there[key]})"
        for key in sizes
        if here.get(key) is not None and there.get(key) is not None and here[key] != there[key]
    ]
    ours, theirs = _length(here), _length(there)
    told += [f"{ours} of training ({theirs})"] if ours and theirs and ours != theirs else []
    if told:
        yield (
            f"'{label}' has, in brackets what it has in the ablation's own recipe: "
            f"{', '.join(told)}."
        )


def _length(values: Mapping[str, Any]) -> str | None:
    steps, epochs = values.get("train.steps"), values.get("train.epochs")
    if steps is not None:
        return f"{steps:,} steps"
    return None if epochs is None else f"{epochs:g} epochs"


def _of_data(record: AblationRecord, split: Split) -> Iterator[str]:
    if (split.images, split.classes) == COCO:
        return
    told = f"{counted(split.images, 'image')} of {counted(split.classes, 'class', 'classes')}"
    name = f"the embedded data set ({record.data})" if _is_demo(record) else f"'{split.name}'"
    paper = f"; the paper's figures are of COCO val2017, {COCO[0]:,} images of {COCO[1]} classes"
    yield f"Scored on {name}, {told}{paper if record.ablation.paper else ''}."


def _is_demo(record: AblationRecord) -> bool:
    return record.data is not None and record.data.startswith("demo ")


def _of_weights(ours: str | None, theirs: str | None) -> Iterator[str]:
    if ours == theirs or theirs is None:
        return
    if ours is not None:
        yield f"Trained from the weights `{ours}` in place of `{theirs}`."
        return
    known = catalog.entries().get(theirs)
    is_mae = known is not None and known.family in catalog.MAE_FAMILIES
    kind = "MIM pre-training" if is_mae else "pre-training"
    yield (
        f"Trained from random weights in place of `{theirs}`. Without {kind} the small scale "
        "cannot speak for or against the papers' claims about the accuracy that comes of it."
    )


def _of_seeds(record: AblationRecord) -> Iterator[str]:
    if record.ablation.paper:
        yield (
            f"Every cell is meant to have {counted(len(record.seeds), 'seed')} here; the paper "
            "gives one figure for each, without its spread."
        )


def _of_devices(runs: Mapping[str, RunRecord]) -> Iterator[str]:
    devices = dict.fromkeys(run.device for run in runs.values() if run.device)
    if len(devices) == 1:
        yield f"Times are wall-clock times on {next(iter(devices))}, whatever else ran there."
    elif devices:
        yield (
            f"Times and memory are of different devices ({'; '.join(devices)}) and are put in "
            "relation only between cells of the same."
        )
