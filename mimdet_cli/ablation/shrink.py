"""What a training starts from, and what becomes of it when `--base` names another recipe.

Every training then starts from the named base and keeps its data, head, length and optimizer. Where
a training asks for another recipe, or where the ablation's own base has another backbone, that
recipe's backbone takes the place of the base's. A base that trains from random weights is a small
one: backbones then come in their `tiny` size, and what asks for pre-trained weights is left out,
because no such weights exist for it. Lengths keep their share: 6 of 36 epochs are a sixth of the
base's steps.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from backbones.options.effects import Role
from mimdet_cli.ablation.expand import Training
from mimdet_cli.ablation.read import Source
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
SCORED_AFTERWARDS = Origin("the ablation, which scores and keeps the last step alone")
ONLY_AT_THE_END = (
    Override("train.evals", 0, SCORED_AFTERWARDS),
    Override("train.saves", 1, SCORED_AFTERWARDS),
    Override("train.keep", 1, SCORED_AFTERWARDS),
)


class LeftOut(Exception):  # noqa: N818 - no mistake of anybody
    """A training that cannot be made at the size of the base; says why."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the trainings of an ablation start.

    `own` is the base that the ablation names, `given` the one in its place, if any.
    """

    source: Source
    own: Path
    given: Path | None

    @property
    def path(self) -> Path:
        """The recipe that is the base."""
        return self.given or self.own

    @property
    def small(self) -> bool:
        """Whether backbones are shrunk to the base's size."""
        if self.given is None:
            return False
        init = _recipe(self.given).init
        return init.weights is None and not init.more

    def draft(self, training: Training) -> Draft:
        """The recipe that the training changes, before its settings."""
        if self.given is None:
            named = training.recipe
            draft = _draft(self.own if named is None else self._named(training))
        else:
            draft = self._on_given(training, self.given)
        if training.backbone is not None:
            draft = self._with_added(draft, training.backbone)
        return with_overrides(draft, ONLY_AT_THE_END)

    def settings(self, training: Training, settings: tuple[Override, ...]) -> tuple[Override, ...]:
        """The settings, fitted to the base's length."""
        if self.given is None:
            return settings
        if self.small and any(one.key in WEIGHTS and one.value for one in settings):
            raise LeftOut(NO_WEIGHTS)
        own = _recipe(self.own if training.recipe is None else self._named(training))
        base = _recipe(self.given).train
        kept = [one for one in settings if one.key not in LENGTHS]
        lengths = [one for one in settings if one.key in LENGTHS and one.value is not None]
        return (*kept, *(_share(one, own.train, base) for one in lengths))

    def _named(self, training: Training) -> Path:
        assert training.recipe is not None
        try:
            return find_recipe(self.source.recipe(training.recipe))
        except RecipeError as error:
            error.where = str(self.source.origin("variants", training.label, "recipe"))
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


def start_of(source: Source, base: str | None) -> Start:
    """Where the trainings start: at the ablation's base, or at `base`."""
    try:
        own = find_recipe(source.recipe(source.ablation.base))
    except RecipeError as error:
        error.where = str(source.origin("base"))
        raise
    if base is None:
        return Start(source, own, None)
    given = find_recipe(base)
    return Start(source, own, None if given.resolve() == own.resolve() else given)


def tiny(recipe: CompletedRecipe) -> dict[str, Any]:
    """The options that bring the completed recipe's backbone to its tiny size."""
    smaller = backbone_class(recipe.backbone.name).tiny(recipe.backbone.values)
    if smaller is None:
        raise LeftOut(f"the backbone '{recipe.backbone.name}' has no tiny size")
    return dict(smaller)


def _draft(path: Path) -> Draft:
    return _read(path, Path.cwd(), path.stat().st_mtime_ns)


@cache
def _read(path: Path, folder: Path, changed: int) -> Draft:
    """A recipe that many trainings start from, read from `folder`, last `changed` then."""
    return read_recipe(path)


def _recipe(path: Path) -> Recipe:
    return validate(_draft(path)).recipe


def _replaced(draft: Draft, section: str, values: dict[str, Any], origin: str) -> Draft:
    """The draft with another section in place of its own."""
    origins = {
        key: one
        for key, one in draft.origins.items()
        if key != section and not key.startswith(f"{section}.")
    }
    origins |= {f"{section}.{key}": Origin(origin) for key in values}
    origins[section] = Origin(origin)
    return Draft({**draft.values, section: values}, origins, draft.source)


def _within_square(draft: Draft, section: dict[str, Any]) -> Draft:
    """The draft with images that fit the square, if any, that the backbone pads them to."""
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
    """The square that a backbone, given as its section, pads images to."""
    options = json.loads(section)
    kind = backbone_class(options.pop("name"))
    with torch.device("meta"):
        return kind(kind.Options.model_validate(options)).padding.square


def _share(length: Override, own: Train, base: Train) -> Override:
    """A length in the units of `base`, with the share that it has of the length of `own`."""
    whole = own.epochs if length.key == "train.epochs" else own.steps
    if whole is None:
        raise LeftOut(f"'{length.key}: {length.value}' is no share of the length that it changes")
    share = length.value / whole
    if base.steps is not None:
        return Override("train.steps", max(1, round(share * base.steps)), length.origin)
    assert base.epochs is not None
    return Override("train.epochs", share * base.epochs, length.origin)
