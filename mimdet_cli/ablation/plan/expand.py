"""An ablation -> its trainings and evaluations: every point of the axes, then the variants.

Each carries a label and the recipe keys that it sets, with the line that sets them.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mimdet_cli.ablation.definition import Axes, Settings
from mimdet_cli.ablation.read import Source
from mimdet_cli.recipe.load import to_yaml
from mimdet_cli.recipe.overrides import Override

BASE = "base"
"""Label of the one training of an ablation that varies none."""


@dataclass(frozen=True, slots=True)
class Training:
    """A recipe to train, by what it changes.

    It starts from `recipe`, or the base if None; `backbone` replaces the base's by a registered
    one. `after` is the label of the training whose weights it takes over. `added` ones are the
    command line's, not the ablation's.
    """

    label: str
    settings: tuple[Override, ...] = ()
    recipe: str | None = None
    backbone: str | None = None
    after: str | None = None
    added: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A way to score a trained model, by what it changes; "" is the label of the plain one."""

    label: str = ""
    settings: tuple[Override, ...] = ()
    evals: int = 1


def trainings(source: Source) -> list[Training]:
    """Every training of the ablation; its base alone if it varies none."""
    ablation = source.ablation
    points = [
        Training(label, settings) for label, settings in _points(source, ablation.axes, "axes")
    ]
    variants = [
        Training(
            label, _settings(source, one.settings, "variants", label), one.recipe, None, one.after
        )
        for label, one in ablation.variants.items()
    ]
    return [*points, *variants] or [Training(BASE)]


def evaluations(source: Source) -> list[Evaluation]:
    """Every evaluation of the ablation; the plain one if it varies none."""
    evaluate = source.ablation.evaluate
    points = [
        Evaluation(label, settings)
        for label, settings in _points(source, evaluate.axes, "evaluate", "axes")
    ]
    variants = [
        Evaluation(label, _settings(source, one.settings, "evaluate", "variants", label), one.evals)
        for label, one in evaluate.variants.items()
    ]
    return [*points, *variants] or [Evaluation()]


def shared_settings(source: Source) -> tuple[Override, ...]:
    """What every training changes."""
    return _settings(source, source.ablation.set, "set")


def cell_label(training: str, evaluation: str) -> str:
    """`TRAINING, EVALUATION`, or the one of the two that is varied."""
    if not evaluation:
        return training
    return evaluation if training == BASE else f"{training}, {evaluation}"


def shown_value(value: Any) -> str:
    """A value as short as a label wants it: 1.0 as 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return to_yaml({"": value}).partition(":")[2].strip()


def _points(
    source: Source, axes: Axes, *section: str
) -> Iterator[tuple[str, tuple[Override, ...]]]:
    """Every combination of the axes' values, the last axis fastest."""
    if not axes:
        return
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        words = (f"{key.rpartition('.')[2]}={shown_value(value)}" for key, value in point.items())
        yield ", ".join(words), _settings(source, point, *section)


def _settings(source: Source, settings: Settings, *section: str) -> tuple[Override, ...]:
    return tuple(
        Override(key, value, source.origin(*section, key)) for key, value in settings.items()
    )


def repeated(labels: Iterable[str]) -> list[str]:
    """The labels that are there more than once."""
    return [label for label, count in Counter(labels).items() if count > 1]
