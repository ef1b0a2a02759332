"""The recipe that a training starts from, and how `--base` replaces and shrinks it.

With `--base`, every training starts from that recipe and keeps its data, head, length and
optimizer. The backbone of a training that names a recipe, or of the ablation's own base if it has
another one, replaces the backbone of `--base`. A base that trains from random weights is small:
backbones then have their `tiny` size, and trainings from pre-trained weights are left out, because
no such weights exist at that size. Lengths keep their proportion: 6 of 36 epochs become a sixth
of the base's steps.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from backbones.contract import Backbone
from backbones.options.effects import Role
from mimdet_cli.ablation.definition import Definition
from mimdet_cli.ablation.plan.expand import Training
from mimdet_cli.build import backbone_class, complete
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.catalog import find_recipe, shown
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import (
    Draft,
    ResolvedRecipe,
    read_recipe,
    validate,
    with_overrides,
)
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin
from mimdet_cli.recipe.schema import CompletedRecipe, Recipe, Train

LENGTHS = keys_with(Role.LENGTH)
WEIGHTS = keys_with(Role.WEIGHTS)
NO_WEIGHTS = "pre-trained weights do not come in this size"
SCORED_AFTERWARDS = Origin("the ablation, which keeps and scores only the last step")
ONLY_AT_THE_END = (
    Override("train.evals", 0, SCORED_AFTERWARDS),
    Override("train.saves", 1, SCORED_AFTERWARDS),
    Override("train.keep", 1, SCORED_AFTERWARDS),
)


class LeftOut(Exception):  # noqa: N818 - not a mistake
    """A training that does not exist at the size of the base, with the reason."""


@dataclass(frozen=True, slots=True)
class Start:
    """The base of an ablation's trainings: its `own`, or the one `given` by `--base`."""

    definition: Definition
    own: Path
    given: Path | None

    @property
    def path(self) -> Path:
        """The base in use."""
        return self.given or self.own

    @property
    def small(self) -> bool:
        """Whether backbones have their tiny sizes."""
        if self.given is None:
            return False
        init = _recipe(self.given).init
        return init.weights is None and not init.more

    def draft(self, training: Training) -> Draft:
        """The recipe of the training before its settings."""
        if self.given is None:
            named = training.recipe
            draft = _draft(self.own if named is None else self._named(training))
        else:
            draft = self._on_given(training, self.given)
        if training.backbone is not None:
            draft = self._with_added(draft, training.backbone)
        return with_overrides(draft, ONLY_AT_THE_END)

    def settings(self, training: Training, settings: tuple[Override, ...]) -> tuple[Override, ...]:
        """The settings with lengths in proportion to the base's."""
        if self.given is None:
            return settings
        if self.small and any(setting.key in WEIGHTS and setting.value for setting in settings):
            raise LeftOut(NO_WEIGHTS)
        own = _recipe(self.own if training.recipe is None else self._named(training))
        base = _recipe(self.given).train
        kept = [setting for setting in settings if setting.key not in LENGTHS]
        lengths = [
            setting for setting in settings if setting.key in LENGTHS and setting.value is not None
        ]
        return (*kept, *(_in_proportion(setting, own.train, base) for setting in lengths))

    def _named(self, training: Training) -> Path:
        assert training.recipe is not None
        try:
            return find_recipe(self.definition.recipe(training.recipe))
        except RecipeError as error:
            error.where = str(self.definition.origin("variants", training.label, "recipe"))
            raise

    def _on_given(self, training: Training, given: Path) -> Draft:
        draft = _draft(given)
        if training.backbone is not None:
            return draft
        if training.recipe is not None:
            recipe = self._named(training)
        elif _recipe(self.own).backbone.name != _recipe(given).backbone.name:
            recipe = self.own
        else:
            return draft
        resolved = complete(validate(_draft(recipe)))
        section = resolved.recipe.backbone.model_dump()
        origin = shown(recipe)
        if not self.small:
            init = {**resolved.recipe.init.model_dump(mode="json")}
            return _replaced(_replaced(draft, "backbone", section, origin), "init", init, origin)
        section |= tiny(resolved.recipe)
        draft = _replaced(draft, "backbone", section, f"{origin} at its tiny size")
        return _within_square(draft, section)

    def _with_added(self, draft: Draft, name: str) -> Draft:
        """The draft on a registered backbone with its defaults, from random weights."""
        bare = Recipe.model_validate({"backbone": {"name": name}})
        resolved = complete(ResolvedRecipe(bare, {}, draft.source))
        section = resolved.recipe.backbone.model_dump()
        section |= tiny(resolved.recipe) if self.small else {}
        draft = _replaced(draft, "backbone", section, f"--add {name}")
        draft = _replaced(draft, "init", {}, f"--add {name}")
        return _within_square(draft, section)


def start_of(definition: Definition, base: str | None) -> Start:
    """Where the trainings start: from `base`, or else from the ablation's own."""
    try:
        own = find_recipe(definition.recipe(definition.ablation.base))
    except RecipeError as error:
        error.where = str(definition.origin("base"))
        raise
    if base is None:
        return Start(definition, own, None)
    given = find_recipe(base)
    return Start(definition, own, None if given.resolve() == own.resolve() else given)


def tiny(recipe: CompletedRecipe) -> dict[str, Any]:
    """The options that give the backbone of a completed recipe its tiny size."""
    smaller = backbone_class(recipe.backbone.name).tiny(recipe.backbone.values)
    if smaller is None:
        raise LeftOut(f"the backbone '{recipe.backbone.name}' has no tiny size")
    return dict(smaller)


def _draft(path: Path) -> Draft:
    return _read(path, Path.cwd(), path.stat().st_mtime_ns)


@cache
def _read(path: Path, folder: Path, changed: int) -> Draft:
    """A recipe, read once although many trainings start from it.

    It may depend on the current `folder`, and was last changed at `changed`.
    """
    return read_recipe(path)


def _recipe(path: Path) -> Recipe:
    return validate(_draft(path)).recipe


def _replaced(draft: Draft, section: str, values: dict[str, Any], origin: str) -> Draft:
    """The draft with `section` replaced."""
    origins = {
        key: place
        for key, place in draft.origins.items()
        if key != section and not key.startswith(f"{section}.")
    }
    origins |= {f"{section}.{key}": Origin(origin) for key in values}
    origins[section] = Origin(origin)
    return Draft({**draft.values, section: values}, origins, draft.source)


def _within_square(draft: Draft, section: dict[str, Any]) -> Draft:
    """The draft with images no larger than the square, if any, that the backbone pads them to."""
    square = _square(json.dumps(section))
    if square is None:
        return draft
    origin = Origin(f"the square of {square} pixels that '{section['name']}' pads images to")
    data = validate(draft).recipe.data
    sides = {"max_side": data.max_side, "eval_max_side": data.eval_max_side}
    return with_overrides(
        draft,
        [Override(f"data.{key}", square, origin) for key, side in sides.items() if side > square],
    )


@cache
def _square(section: str) -> int | None:
    """The square that the backbone of a recipe section pads images to; None if it has none."""
    return backbone_of(section).padding.square


def backbone_of(section: str) -> Backbone:
    """The backbone of a recipe section, given as JSON, without values."""
    options = json.loads(section)
    kind = backbone_class(options.pop("name"))
    with torch.device("meta"):
        return kind(kind.Options.model_validate(options))


def _in_proportion(length: Override, own: Train, base: Train) -> Override:
    """A length in the units of `base`, in proportion as it is to the length of `own`."""
    whole = own.epochs if length.key == "train.epochs" else own.steps
    if whole is None:
        raise LeftOut(
            f"'{length.key}: {length.value}' is not in the units of the length that it changes"
        )
    share = length.value / whole
    if base.steps is not None:
        return Override("train.steps", max(1, round(share * base.steps)), length.origin)
    assert base.epochs is not None
    return Override("train.epochs", share * base.epochs, length.origin)
