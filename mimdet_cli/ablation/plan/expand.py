"""An ablation -> its trainings and evaluations, and the checks that need no recipe.

There is a training or evaluation for every point of the axes, then one for every variant. Each has
a label and the recipe keys that it sets, with the line that sets them.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mimdet_cli.ablation.definition import Axes, Definition, Settings
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.catalog import shown
from mimdet_cli.recipe.load import to_yaml
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin

BASE = "base"
"""Label of the only training of an ablation that varies none."""


@dataclass(frozen=True, slots=True)
class Training:
    """A recipe to train, by what it changes.

    It starts from `recipe`, or the base if None; `backbone` replaces the base's by a registered
    one. `after` is the label of the training whose weights it starts from. `added` marks those that
    `--add` names.
    """

    label: str
    settings: tuple[Override, ...] = ()
    recipe: str | None = None
    backbone: str | None = None
    after: str | None = None
    added: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A way to score a trained model, by what it changes; the plain one has the label ""."""

    label: str = ""
    settings: tuple[Override, ...] = ()
    evals: int = 1


def trainings(definition: Definition) -> list[Training]:
    """Every training of the ablation; its base alone if it varies none."""
    ablation = definition.ablation
    points = [Training(*point) for point in _points(definition, ablation.axes, "axes")]
    variants = [
        Training(
            label,
            _settings(definition, variant.settings, "variants", label),
            variant.recipe,
            after=variant.after,
        )
        for label, variant in ablation.variants.items()
    ]
    return [*points, *variants] or [Training(BASE)]


def evaluations(definition: Definition) -> list[Evaluation]:
    """Every evaluation of the ablation; the plain one if it varies none."""
    evaluate = definition.ablation.evaluate
    points = [
        Evaluation(*point) for point in _points(definition, evaluate.axes, "evaluate", "axes")
    ]
    variants = [
        Evaluation(
            label,
            _settings(definition, variant.settings, "evaluate", "variants", label),
            variant.evals,
        )
        for label, variant in evaluate.variants.items()
    ]
    return [*points, *variants] or [Evaluation()]


def shared_settings(definition: Definition) -> tuple[Override, ...]:
    """What every training changes."""
    return _settings(definition, definition.ablation.set, "set")


def cell_label(training: str, evaluation: str) -> str:
    """`TRAINING, EVALUATION`, or the one of the two that varies."""
    if not evaluation:
        return training
    return evaluation if training == BASE else f"{training}, {evaluation}"


def refuse_clashes(
    definition: Definition,
    trainings: Sequence[Training],
    evaluations: Sequence[Evaluation],
    overrides: Sequence[Override],
) -> None:
    """No label occurs twice, no key is both varied and set, and nothing sets the seed."""
    errors: list[MimdetError] = [
        RecipeError(
            f"two {kind} are called '{label}'.",
            where=shown(definition.path),
            fix="list each value of an axis once, and give every variant its own name.",
        )
        for kind, labels in (
            ("trainings", [training.label for training in trainings]),
            ("evaluations", [evaluation.label for evaluation in evaluations]),
        )
        for label in _repeated(labels)
    ]
    errors += _varied_and_set(definition, evaluations, overrides)
    settings = [setting for training in trainings for setting in training.settings]
    settings += [setting for evaluation in evaluations for setting in evaluation.settings]
    seeds = dict.fromkeys(item.origin for item in (*settings, *overrides) if item.key == "seed")
    errors += [
        RecipeError(
            "an ablation cannot set 'seed': every training runs once per seed.",
            where=str(origin),
            fix="list the seeds as `seeds:` in its file, or give their number with --seeds.",
        )
        for origin in seeds
    ]
    _raise(errors)


def refuse_starts(definition: Definition, trainings: Sequence[Training]) -> None:
    """Every `after` names another training, and no chain of them is a circle."""
    after = {training.label: training.after for training in trainings}
    errors: list[MimdetError] = []
    reported: set[str] = set()
    for label, parent in after.items():
        where = str(definition.origin("variants", label, "after"))
        if parent is not None and parent not in after:
            errors.append(_unknown("training", parent, where, after))
        elif label not in reported and label in (line := _line(label, after)):
            reported |= {label, *line}
            circle = " -> ".join(f"'{name}'" for name in (label, *line))
            errors.append(
                RecipeError(
                    f"a training cannot start from itself: {circle}.",
                    where=where,
                    fix="omit `after` in one of them.",
                )
            )
    _raise(errors)


def refuse_cells(definition: Definition, cells: Sequence[str], left_out: Iterable[str]) -> None:
    """Every row has its own name, and claims, published figures and the default name rows.

    They may also name rows that are `left_out` because they do not fit the base.
    """
    ablation = definition.ablation
    named = [(label, definition.origin("paper", label)) for label in ablation.paper]
    if ablation.default is not None:
        named.append((ablation.default, definition.origin("default")))
    named += [
        (label, Origin(f"{definition.origin('claims')}, claim {number}"))
        for number, claim in enumerate(ablation.claims, 1)
        for label in claim.cells
    ]
    known = {*cells, *left_out}
    where = shown(definition.path)
    errors: list[MimdetError] = [
        RecipeError(f"two cells are called '{label}'.", where=where, fix="rename one.")
        for label in _repeated(cells)
    ]
    errors += [
        _unknown("cell", label, str(origin), cells) for label, origin in named if label not in known
    ]
    _raise(errors)


def _points(
    definition: Definition, axes: Axes, *section: str
) -> Iterator[tuple[str, tuple[Override, ...]]]:
    """Label and settings of every combination of the axes' values, the last axis fastest."""
    if not axes:
        return
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        words = (f"{key.rpartition('.')[2]}={_short(value)}" for key, value in point.items())
        yield ", ".join(words), _settings(definition, point, *section)


def _short(value: Any) -> str:
    """A value as labels have it: 1.0 as 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return to_yaml({"": value}).partition(":")[2].strip()


def _settings(definition: Definition, settings: Settings, *section: str) -> tuple[Override, ...]:
    return tuple(
        Override(key, value, definition.origin(*section, key)) for key, value in settings.items()
    )


def _repeated(labels: Iterable[str]) -> list[str]:
    return [label for label, count in Counter(labels).items() if count > 1]


def _varied_and_set(
    definition: Definition, evaluations: Sequence[Evaluation], overrides: Sequence[Override]
) -> list[MimdetError]:
    evaluated = (setting.key for evaluation in evaluations for setting in evaluation.settings)
    varied = {*definition.ablation.axes, *evaluated}
    return [
        RecipeError(
            f"'{definition.name}' varies '{override.key}', so it cannot be set.",
            where=str(override.origin),
            fix="omit it, or copy the ablation to a file and change its values there.",
        )
        for override in overrides
        if any(key == override.key or key.startswith(f"{override.key}.") for key in varied)
    ]


def _line(label: str, after: dict[str, str | None]) -> list[str]:
    """The trainings before `label`, nearest first, up to the first or to one that recurs."""
    line: list[str] = []
    parent = after[label]
    while parent is not None and parent in after and parent not in line:
        line.append(parent)
        parent = after[parent]
    return line


def _unknown(kind: str, label: str, where: str, known: Iterable[str]) -> MimdetError:
    names = list(known)
    near = get_close_matches(label, names, n=1)
    fix = (
        f"did you mean '{near[0]}'?" if near else "give one of " + ", ".join(map(repr, names)) + "."
    )
    return RecipeError(f"there is no {kind} '{label}'.", where=where, fix=fix)


def _raise(errors: Sequence[MimdetError]) -> None:
    if errors:
        raise MimdetError.joined(errors)
