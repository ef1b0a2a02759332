"""What is refused of an ablation before its recipes are made: clashes, and names of nothing."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from mimdet_cli.ablation.plan.expand import Evaluation, Training, repeated
from mimdet_cli.ablation.read import Source
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.catalog import shown
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin


def refuse_clashes(
    source: Source,
    trainings: Sequence[Training],
    evaluations: Sequence[Evaluation],
    overrides: Sequence[Override],
) -> None:
    """Names given twice, and keys that are varied and set, or set by something else."""
    errors: list[MimdetError] = [
        RecipeError(
            f"two {kind} are called '{label}'.",
            where=shown(source.path),
            fix="give each value of an axis once, and every variant a name of its own.",
        )
        for kind, labels in (
            ("trainings", [one.label for one in trainings]),
            ("evaluations", [one.label for one in evaluations]),
        )
        for label in repeated(labels)
    ]
    errors += _varied_and_set(source, evaluations, overrides)
    settings = [one for training in trainings for one in training.settings]
    settings += [one for evaluation in evaluations for one in evaluation.settings]
    seeds = dict.fromkeys(one.origin for one in (*settings, *overrides) if one.key == "seed")
    errors += [
        RecipeError(
            "'seed' is no setting of an ablation: every training runs once for each of its seeds.",
            where=str(origin),
            fix="list them as `seeds:` in its file, or give their number as `--seeds`.",
        )
        for origin in seeds
    ]
    _raise(errors)


def refuse_starts(source: Source, trainings: Sequence[Training]) -> None:
    """A training goes on from one that is there, and not in the end from itself."""
    after = {one.label: one.after for one in trainings}
    errors: list[MimdetError] = []
    told: set[str] = set()
    for label, parent in after.items():
        where = str(source.origin("variants", label, "after"))
        if parent is not None and parent not in after:
            errors.append(_unknown("training", parent, where, after))
        elif label not in told and label in (line := _line(label, after)):
            told |= {label, *line}
            circle = " -> ".join(f"'{one}'" for one in (label, *line))
            errors.append(
                RecipeError(
                    f"a training goes on from itself: {circle}.",
                    where=where,
                    fix="leave `after` out of one of them.",
                )
            )
    _raise(errors)


def refuse_cells(source: Source, cells: Sequence[str], left_out: Iterable[str]) -> None:
    """Rows have names of their own, and what names a row names one that is there.

    `left_out` are the names of rows that the base has no size for.
    """
    ablation = source.ablation
    named = [(label, source.origin("paper", label)) for label in ablation.paper]
    if ablation.default is not None:
        named.append((ablation.default, source.origin("default")))
    named += [
        (label, Origin(f"{source.origin('claims')}, claim {number}"))
        for number, claim in enumerate(ablation.claims, 1)
        for label in claim.cells
    ]
    known = {*cells, *left_out}
    errors: list[MimdetError] = [
        RecipeError(f"two cells are called '{label}'.", where=shown(source.path), fix="rename one.")
        for label in repeated(cells)
    ]
    errors += [
        _unknown("cell", label, str(origin), cells) for label, origin in named if label not in known
    ]
    _raise(errors)


def _varied_and_set(
    source: Source, evaluations: Sequence[Evaluation], overrides: Sequence[Override]
) -> list[MimdetError]:
    ablation = source.ablation
    varied = {
        *ablation.axes,
        *(setting.key for one in evaluations for setting in one.settings),
    }
    return [
        RecipeError(
            f"'{one.key}' is what '{source.name}' varies, so it cannot be set.",
            where=str(one.origin),
            fix="leave it out, or copy the ablation to a file and change its values there.",
        )
        for one in overrides
        if any(key == one.key or key.startswith(f"{one.key}.") for key in varied)
    ]


def _line(label: str, after: dict[str, str | None]) -> list[str]:
    """The trainings before `label`, nearest first, until there is none or one comes again."""
    line: list[str] = []
    parent = after[label]
    while parent is not None and parent in after and parent not in line:
        line.append(parent)
        parent = after[parent]
    return line


def _unknown(kind: str, label: str, where: str, known: Iterable[str]) -> MimdetError:
    names = list(known)
    near = get_close_matches(label, names, n=1)
    fix = f"did you mean '{near[0]}'?" if near else "there are " + ", ".join(map(repr, names)) + "."
    return RecipeError(f"there is no {kind} '{label}'.", where=where, fix=fix)


def _raise(errors: Sequence[MimdetError]) -> None:
    if errors:
        raise MimdetError.joined(errors)
