"""An ablation on given data, from a given base -> every run and every row of its table, checked.

A run is one training from one seed, named by the hash of what matters to it: trainings whose
recipes are equal share it. A cell is a row of the table: a training under an evaluation, with the
run of each seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimdet_cli.ablation.layout import LAST, run_folder
from mimdet_cli.ablation.plan import own_data
from mimdet_cli.ablation.plan.checks import refuse_cells, refuse_clashes, refuse_starts
from mimdet_cli.ablation.plan.expand import Evaluation, cell_label, evaluations, trainings
from mimdet_cli.ablation.plan.identity import data_identity, evaluation_key, run_hash
from mimdet_cli.ablation.plan.recipes import Mistakes, Resolved, Resolver, added
from mimdet_cli.ablation.plan.shrink import Start, start_of
from mimdet_cli.ablation.read import Source, read
from mimdet_cli.ablation.request import Request
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.catalog import shown
from mimdet_cli.recipe.load import Completed, ResolvedRecipe
from mimdet_cli.recipe.overrides import Override, parse_overrides
from mimdet_cli.recipe.reading import Origin
from mimdet_cli.recipe.schema import Data


@dataclass(frozen=True, slots=True)
class Scoring:
    """One evaluation of a run: its name, the recipe keys that it changes, how many are merged."""

    key: str
    settings: Mapping[str, Any]
    evals: int


@dataclass(frozen=True, slots=True)
class Run:
    """One training from one seed, and how it is scored; `parent` is the run it goes on from."""

    hash: str
    label: str
    seed: int
    recipe: ResolvedRecipe
    parent: str | None
    scorings: tuple[Scoring, ...]

    @property
    def title(self) -> str:
        """How it is called in messages."""
        return f"{self.label} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of the table; `runs` are hashes by seed, in each of which `scoring` is found."""

    label: str
    training: str
    evaluation: str
    scoring: Scoring
    runs: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that there is to do, in order; `left_out` tells by training what is not, and why.

    `data` identifies the data of the base, None if there are none yet.
    """

    request: Request
    source: Source
    start: Start
    data: str | None
    runs: tuple[Run, ...]
    cells: tuple[Cell, ...]
    left_out: Mapping[str, str]

    @property
    def base(self) -> str:
        """The recipe that trainings start from, as messages name it."""
        return shown(self.start.path)

    @property
    def own_base(self) -> str:
        """The recipe that the ablation names as its base."""
        return shown(self.start.own)

    @property
    def small(self) -> bool:
        """Whether backbones have their tiny sizes."""
        return self.start.small

    def run(self, name: str) -> Run:
        """The run of a hash."""
        for one in self.runs:
            if one.hash == name:
                return one
        raise RecipeError(
            f"'{self.source.name}' has no run '{name}'.",
            where=f"--cell {name}",
            fix="take the commands anew from `--commands`: a change of any recipe renames its run.",
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A cell before its runs have names."""

    label: str
    resolved: Resolved
    evaluation: Evaluation
    scoring: Scoring

    @property
    def training(self) -> str:
        """Label of its training."""
        return self.resolved.training.label


def make_plan(request: Request) -> Plan:
    """Read, expand, resolve and check; nothing is written."""
    source = read(request.name)
    start = start_of(source, request.base)
    overrides = parse_overrides(request.overrides)
    wanted, scored = [*trainings(source), *added(request.added)], evaluations(source)
    refuse_clashes(source, wanted, scored, overrides)
    refuse_starts(source, wanted)
    resolver = Resolver(source, start, (*overrides, *_data_override(request, start)))
    found, left_out = _reachable(*resolver.trainings(wanted))
    hidden = [cell_label(label, one.label) for label in left_out for one in scored]
    rows = _rows(source, resolver, found, scored)
    refuse_cells(source, [row.label for row in rows], hidden)
    if not found:
        raise RecipeError(
            f"nothing of '{source.name}' can be run from the base '{start.path.stem}'.",
            where="; ".join(f"'{label}': {reason}" for label, reason in left_out.items()),
            fix="leave --base out, or name one of the size that the ablation is about.",
        )
    seeds = source.ablation.seeds if request.seeds is None else tuple(range(request.seeds))
    names = _Names(request.out, found)
    runs = _runs(names, rows, seeds)
    cells = tuple(
        Cell(
            row.label,
            row.training,
            row.evaluation.label,
            row.scoring,
            {seed: names.of(row.training, seed) for seed in seeds},
        )
        for row in rows
    )
    digest = names.data(next(iter(found.values())).recipe.recipe.data)
    return Plan(request, source, start, digest, runs, cells, left_out)


class _Names:
    """Hashes of runs, whose trainings are `found`."""

    def __init__(self, out: Path, found: Mapping[str, Resolved]) -> None:
        self.out = out
        self.found = found

    def of(self, label: str, seed: int) -> str:
        """The name of the run of a training from a seed."""
        recipe = self.recipe(label, seed).recipe
        return run_hash(recipe, self.data(recipe.data), self.parent(label, seed))

    def recipe(self, label: str, seed: int) -> Completed:
        """Its recipe: that of the training, with the seed and the weights that it goes on from."""
        resolved = self.found[label].recipe
        changes: dict[str, Any] = {"seed": seed}
        if parent := self.parent(label, seed):
            path = run_folder(self.out, parent) / LAST
            start = {"checkpoint": str(path), "weights": None, "format": None, "more": ()}
            changes["init"] = resolved.recipe.init.model_copy(update=start)
        return replace(resolved, recipe=resolved.recipe.model_copy(update=changes))

    def parent(self, label: str, seed: int) -> str | None:
        """The name of the run that it goes on from."""
        after = self.found[label].training.after
        return None if after is None else self.of(after, seed)

    def data(self, data: Data) -> str | None:
        """What identifies a recipe's data."""
        return own_data.IDENTITY if own_data.is_own(data, self.out) else data_identity(data)


def _data_override(request: Request, start: Start) -> list[Override]:
    if request.data is not None:
        return [Override("data.root", str(request.data), Origin(f"--data {request.data}"))]
    if own_data.is_demo(start.path):
        folder = str(own_data.folder_in(request.out))
        return [Override("data.root", folder, Origin("the embedded data set"))]
    return []


def _reachable(
    found: dict[str, Resolved], left_out: dict[str, str]
) -> tuple[dict[str, Resolved], dict[str, str]]:
    """What goes on from something that is left out is left out too."""
    while orphans := [label for label, one in found.items() if one.training.after in left_out]:
        for label in orphans:
            after = found.pop(label).training.after
            left_out = {**left_out, label: f"'{after}', which it goes on from, is left out"}
    return found, left_out


def _rows(
    source: Source,
    resolver: Resolver,
    found: Mapping[str, Resolved],
    scored: Sequence[Evaluation],
) -> list[Row]:
    """Every training under every evaluation that goes with it; mistakes of all at once."""
    rows: list[Row] = []
    mistakes = Mistakes()
    for label, resolved in found.items():
        for evaluation in scored:
            name = cell_label(label, evaluation.label)
            try:
                settings = resolver.evaluation(resolved, evaluation)
                if _is_below(source, resolved, settings):
                    continue
            except MimdetError as error:
                mistakes.add(error, name)
                continue
            key = evaluation_key(settings, evaluation.evals)
            rows.append(Row(name, resolved, evaluation, Scoring(key, settings, evaluation.evals)))
    mistakes.raise_all()
    return rows


def _is_below(source: Source, resolved: Resolved, settings: Mapping[str, Any]) -> bool:
    """Whether `at_least` leaves an evaluation of a training out."""
    trained = resolved.recipe.flat()
    values = {**trained, **settings}
    for key, least in source.ablation.evaluate.at_least.items():
        where = str(source.origin("evaluate", "at_least", key))
        low, value = (_number(one, of, where) for one, of in ((least, trained), (key, values)))
        if value < low:
            return True
    return False


def _number(key: str, values: Mapping[str, Any], where: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        said = "is not set" if value is None else f"is {value!r}"
        raise RecipeError(
            f"'{key}' {said}; `at_least` compares numbers.", where=where, fix="name another key."
        )
    return value


def _runs(names: _Names, rows: Sequence[Row], seeds: Sequence[int]) -> tuple[Run, ...]:
    """Every run once, all of a seed before the next, and each after the one it goes on from."""
    labels = list(dict.fromkeys(row.training for row in rows))
    depth = _depths({label: names.found[label].training.after for label in labels})
    runs: dict[str, Run] = {}
    for seed in seeds:
        for label in sorted(labels, key=depth):
            scorings = [row.scoring for row in rows if row.training == label]
            name = names.of(label, seed)
            if name in runs:
                scorings = [*runs[name].scorings, *scorings]
            by_key = {one.key: one for one in scorings}
            first = runs[name].label if name in runs else label
            runs[name] = Run(
                name,
                first,
                seed,
                names.recipe(label, seed),
                names.parent(label, seed),
                tuple(by_key.values()),
            )
    return tuple(runs.values())


def _depths(after: Mapping[str, str | None]) -> Callable[[str], int]:
    def depth(label: str) -> int:
        parent = after.get(label)
        return 0 if parent is None else 1 + depth(parent)

    return depth
