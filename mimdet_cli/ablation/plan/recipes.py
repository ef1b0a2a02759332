"""Trainings and evaluations -> completed recipes; all mistakes in one error, each with its cells.

Settings override each other in this order: the base, the ablation's `set`, those of the training,
`--set`. Those of an evaluation come last, and may only change how a trained model is used.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import torch

from backbones.options.effects import Effect
from mimdet_cli import plugins
from mimdet_cli.ablation.definition import Definition
from mimdet_cli.ablation.plan.expand import Evaluation, Training, shared_settings
from mimdet_cli.ablation.plan.shrink import LeftOut, Start, backbone_of
from mimdet_cli.build import complete
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.jobs.token_sampling import equal_evals, sampling_of, why_equal
from mimdet_cli.recipe.catalog import find_recipe
from mimdet_cli.recipe.facts import keys_with
from mimdet_cli.recipe.load import Completed, Draft, validate, with_overrides
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.words import first_of

SHOWN_CELLS = 2


@dataclass(frozen=True, slots=True)
class Resolved:
    """A training with its recipe, and the draft of that before it was completed."""

    training: Training
    draft: Draft
    recipe: Completed


class Mistakes:
    """Errors with the cells they are in; an error that several cells share is reported once."""

    def __init__(self) -> None:
        self._found: dict[tuple[type[MimdetError], str, str, str], list[str]] = {}

    def add(self, error: MimdetError, cell: str) -> None:
        """Note every error that `error` carries as one of `cell`."""
        for mistake in error.each():
            cells = self._found.setdefault(
                (type(mistake), mistake.what, mistake.where, mistake.fix), []
            )
            cells.append(cell)

    def raise_all(self) -> None:
        """Raise what was noted, if anything, as one error."""
        errors = [
            kind(what, where="; ".join(filter(None, (where, _of(cells)))), fix=fix)
            for (kind, what, where, fix), cells in self._found.items()
        ]
        if errors:
            raise MimdetError.joined(errors)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Makes the recipes of trainings and evaluations; `overrides` are the command line's."""

    definition: Definition
    start: Start
    overrides: tuple[Override, ...]

    def trainings(self, wanted: Sequence[Training]) -> tuple[dict[str, Resolved], dict[str, str]]:
        """Recipes by label, and the reasons why others are left out."""
        if self.start.given is not None:
            self._check_base()
            self._check_unshrunk(wanted)
        found: dict[str, Resolved] = {}
        left_out: dict[str, str] = {}
        mistakes = Mistakes()
        for training in wanted:
            try:
                found[training.label] = self.training(training)
            except LeftOut as reason:
                left_out[training.label] = str(reason)
            except MimdetError as error:
                if self.start.small:
                    left_out[training.label] = f"does not work at its tiny size: {error.what}"
                else:
                    mistakes.add(error, training.label)
        mistakes.raise_all()
        return found, left_out

    def training(self, training: Training) -> Resolved:
        """The recipe of a training."""
        shared = [
            setting
            for setting in shared_settings(self.definition)
            if not (
                training.added and setting.key.startswith("backbone.")
            )  # it may be another backbone
        ]
        given = {setting.key for setting in self.overrides}
        own = tuple(
            setting for setting in (*shared, *training.settings) if setting.key not in given
        )
        draft = self.start.draft(training)
        draft = with_overrides(draft, self.start.settings(training, own))
        draft = with_overrides(draft, self.overrides)
        return Resolved(training, draft, complete(validate(draft)))

    def evaluation(self, resolved: Resolved, evaluation: Evaluation) -> dict[str, Any]:
        """What an evaluation changes in a training's recipe; an error if that needs training."""
        changed = complete(validate(with_overrides(resolved.draft, evaluation.settings)))
        _refuse_other_models(resolved.recipe, changed, evaluation)
        if evaluation.evals > 1:
            self._refuse_equal_evals(changed, evaluation)
        before, after = resolved.recipe.flat(), changed.flat()
        return {key: value for key, value in after.items() if before.get(key) != value}

    def _refuse_equal_evals(self, changed: Completed, evaluation: Evaluation) -> None:
        reason, declared = why_equal(changed.recipe), sampling_of(changed.recipe)
        if reason is not None:
            other = ""
            if declared is not None and declared.eval_ratio == 1:
                other = f", or set backbone.{declared.eval_option} below 1 with it"
            origin = self.definition.origin("evaluate", "variants", evaluation.label, "evals")
            raise RecipeError(
                equal_evals(evaluation.evals, reason),
                where=str(origin),
                fix=f"omit `evals`{other}.",
            )

    def _check_base(self) -> None:
        """Report mistakes in the base and in `--set` once, not for every cell."""
        try:
            draft = self.start.draft(Training("base"))
        except LeftOut:
            return  # every training that uses the base is left out for the same reason
        complete(validate(with_overrides(draft, self.overrides)))

    def _check_unshrunk(self, wanted: Sequence[Training]) -> None:
        """What is wrong at full size is a mistake; what is wrong only at tiny size is left out."""
        full = Resolver(self.definition, Start(self.definition, self.start.own, None), ())
        mistakes = Mistakes()
        for training in wanted:
            try:
                full.training(training)
            except MimdetError as error:
                mistakes.add(error, training.label)
        mistakes.raise_all()


def added(names: Sequence[str]) -> list[Training]:
    """A training for each `--add`: a registered backbone, or a recipe."""
    found = []
    for name in names:
        if name in plugins.names():
            found.append(Training(name, backbone=name, added=True))
            continue
        try:
            path = find_recipe(name)
        except RecipeError as error:
            near = get_close_matches(name, plugins.names(), n=1)
            raise RecipeError(
                f"'{name}' is neither a registered backbone nor a recipe.",
                where=f"--add {name}",
                fix=f"did you mean '{near[0]}'?" if near else error.fix,
            ) from error
        found.append(Training(path.stem, recipe=str(path), added=True))
    return found


def _of(cells: Sequence[str]) -> str:
    quoted = [f"'{cell}'" for cell in cells]
    return f"in {first_of(quoted, SHOWN_CELLS)}"


def _refuse_other_models(trained: Completed, changed: Completed, evaluation: Evaluation) -> None:
    """An evaluation may not need another model than the one that was trained.

    It may set keys that are marked as changing evaluation, and options of a backbone without marks,
    as most plugins have them, that leave the parameters as they are.
    """
    marked = keys_with(Effect.EVALUATION, options=type(trained.recipe.backbone.options))
    others = [setting for setting in evaluation.settings if setting.key not in marked]
    of_backbone = [setting for setting in others if setting.key.startswith("backbone.")]
    if of_backbone and _shapes(_section(trained)) == _shapes(_section(changed)):
        others = [setting for setting in others if setting not in of_backbone]
    errors = [
        RecipeError(
            f"'{setting.key}' changes what is trained, so an evaluation cannot change it.",
            where=str(setting.origin),
            fix="make it a training: move it to `axes` or `variants` outside `evaluate`.",
        )
        for setting in others
    ]
    if errors:
        raise RecipeError.joined(errors)


def _section(resolved: Completed) -> str:
    return json.dumps(resolved.recipe.backbone.model_dump(mode="json"))


@cache
def _shapes(section: str) -> dict[str, torch.Size] | None:
    """Parameters of a backbone; None for one that cannot be built, whose run will say why."""
    try:
        backbone = backbone_of(section)
    except Exception:
        return None
    return {name: tensor.shape for name, tensor in backbone.state_dict().items()}
