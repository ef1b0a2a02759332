"""An ablation on given data, from a given base -> every run and every row of its table, checked.

A run is one training from one seed, named by its hash (`identity`): trainings whose recipes are
equal share it. A cell is a row of the table: a training under an evaluation, with the run of each
seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimdet_cli.ablation.definition import Definition, Request, read_definition
from mimdet_cli.ablation.folder import CELL, LAST, is_scored, read_record, run_folder
from mimdet_cli.ablation.plan.expand import (
    Evaluation,
    cell_label,
    evaluations,
    refuse_cells,
    refuse_clashes,
    refuse_starts,
    trainings,
)
from mimdet_cli.ablation.plan.identity import (
    data_identity,
    embedded_folder,
    evaluation_key,
    has_embedded,
    run_hash,
)
from mimdet_cli.ablation.plan.recipes import Mistakes, Resolved, Resolver, added
from mimdet_cli.ablation.plan.shrink import Start, start_of
from mimdet_cli.engine.checkpoint import is_whole
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.catalog import shown
from mimdet_cli.recipe.load import Completed, ResolvedRecipe
from mimdet_cli.recipe.overrides import Override, parse_overrides
from mimdet_cli.recipe.reading import Origin


@dataclass(frozen=True, slots=True)
class Scoring:
    """One evaluation of a run: its hash, the recipe keys it changes, the size of its ensemble."""

    key: str
    settings: Mapping[str, Any]
    evals: int


@dataclass(frozen=True, slots=True)
class Run:
    """One training from one seed, and how it is scored; `parent` is the run it starts from."""

    hash: str
    label: str
    seed: int
    recipe: ResolvedRecipe
    parent: str | None
    scorings: tuple[Scoring, ...]

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.label} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of the table; `runs` are hashes by seed, each with the results of `scoring`."""

    label: str
    training: str
    evaluation: str
    scoring: Scoring
    runs: Mapping[int, str]

    def to_json(self) -> dict[str, Any]:
        """The row in the folder's record."""
        return {
            "label": self.label,
            "training": self.training,
            "evaluation": self.evaluation,
            "key": self.scoring.key,
            "settings": dict(self.scoring.settings),
            "evals": self.scoring.evals,
            "runs": {str(seed): name for seed, name in self.runs.items()},
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All there is to do, in order; `left_out` has the reasons by training.

    `data` identifies the data of the base, None if there are none yet.
    """

    request: Request
    definition: Definition
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
        for run in self.runs:
            if run.hash == name:
                return run
        raise RecipeError(
            f"'{self.definition.name}' has no run '{name}'.",
            where=f"--cell {name}",
            fix="print the commands again with --commands: a run whose recipe changes is renamed.",
        )

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return run_folder(self.request.out, run.hash)

    def record(self, run: Run) -> dict[str, Any]:
        """What is recorded of a run; empty if nothing is."""
        return read_record(self.folder(run) / CELL)

    def is_done(self, run: Run) -> bool:
        """Whether a run is trained and every evaluation of it is there."""
        folder, record = self.folder(run), self.record(run)
        scored = record.get("evaluations", {})
        return is_trained(folder, record) and all(
            is_scored(folder, scored, scoring.key) for scoring in run.scorings
        )


def make_plan(request: Request) -> Plan:
    """Read, expand, resolve and check; nothing is written."""
    definition = read_definition(request.name)
    start = start_of(definition, request.base)
    overrides = parse_overrides(request.overrides)
    wanted, scored = [*trainings(definition), *added(request.added)], evaluations(definition)
    refuse_clashes(definition, wanted, scored, overrides)
    refuse_starts(definition, wanted)
    resolver = Resolver(definition, start, (*overrides, *_data_override(request, start)))
    found, left_out = _reachable(*resolver.trainings(wanted))
    hidden = [cell_label(label, evaluation.label) for label in left_out for evaluation in scored]
    seeds = definition.ablation.seeds if request.seeds is None else tuple(range(request.seeds))
    names = _Names(request.out, found, seeds)
    cells = _cells(definition, resolver, names, scored)
    refuse_cells(definition, [cell.label for cell in cells], hidden)
    if not found:
        raise RecipeError(
            f"no cell of '{definition.name}' can be run from the base '{start.path.stem}'.",
            where="; ".join(f"'{label}': {reason}" for label, reason in left_out.items()),
            fix="omit --base, or give a base of the size that the ablation studies.",
        )
    data = data_identity(next(iter(found.values())).recipe.recipe.data, request.out)
    return Plan(request, definition, start, data, _runs(names, cells), tuple(cells), left_out)


def is_trained(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the run in `folder` with this record was trained to its end."""
    return record.get("train_s") is not None and is_whole(folder / LAST)


class _Names:
    """The hashes of the runs of trainings, from every seed."""

    def __init__(self, out: Path, found: Mapping[str, Resolved], seeds: Sequence[int]) -> None:
        self.out = out
        self.found = found
        self.seeds = seeds

    def of(self, label: str, seed: int) -> str:
        """The hash of the run of a training from a seed."""
        recipe = self.recipe(label, seed).recipe
        data = data_identity(recipe.data, self.out)
        return run_hash(recipe, data, self.parent(label, seed))

    def recipe(self, label: str, seed: int) -> Completed:
        """Its recipe: that of the training, with the seed and the weights it starts from."""
        resolved = self.found[label].recipe
        changes: dict[str, Any] = {"seed": seed}
        if parent := self.parent(label, seed):
            path = run_folder(self.out, parent) / LAST
            start = {"checkpoint": str(path), "weights": None, "format": None, "more": ()}
            changes["init"] = resolved.recipe.init.model_copy(update=start)
        return replace(resolved, recipe=resolved.recipe.model_copy(update=changes))

    def parent(self, label: str, seed: int) -> str | None:
        """The hash of the run it starts from."""
        after = self.found[label].training.after
        return None if after is None else self.of(after, seed)


def _data_override(request: Request, start: Start) -> list[Override]:
    if request.data is not None:
        return [Override("data.root", str(request.data), Origin(f"--data {request.data}"))]
    if has_embedded(start.path):
        folder = str(embedded_folder(request.out))
        return [Override("data.root", folder, Origin("the embedded data set"))]
    return []


def _reachable(
    found: dict[str, Resolved], left_out: dict[str, str]
) -> tuple[dict[str, Resolved], dict[str, str]]:
    """Trainings that start from one that is left out are left out too."""
    while orphans := [
        name for name, resolved in found.items() if resolved.training.after in left_out
    ]:
        for label in orphans:
            after = found.pop(label).training.after
            left_out = {**left_out, label: f"'{after}', which it starts from, is left out"}
    return found, left_out


def _cells(
    definition: Definition, resolver: Resolver, names: _Names, scored: Sequence[Evaluation]
) -> list[Cell]:
    """Every training under every evaluation that suits it; all mistakes in one error."""
    cells: list[Cell] = []
    mistakes = Mistakes()
    for training, resolved in names.found.items():
        runs = {seed: names.of(training, seed) for seed in names.seeds}
        for evaluation in scored:
            label = cell_label(training, evaluation.label)
            try:
                settings = resolver.evaluation(resolved, evaluation)
                if _is_below(definition, resolved, settings):
                    continue
            except MimdetError as error:
                mistakes.add(error, label)
                continue
            key = evaluation_key(settings, evaluation.evals)
            scoring = Scoring(key, settings, evaluation.evals)
            cells.append(Cell(label, training, evaluation.label, scoring, runs))
    mistakes.raise_all()
    return cells


def _is_below(definition: Definition, resolved: Resolved, settings: Mapping[str, Any]) -> bool:
    """Whether `at_least` rules out an evaluation of a training."""
    trained = resolved.recipe.flat()
    values = {**trained, **settings}
    for key, least in definition.ablation.evaluate.at_least.items():
        where = str(definition.origin("evaluate", "at_least", key))
        if _number(key, values, where) < _number(least, trained, where):
            return True
    return False


def _number(key: str, values: Mapping[str, Any], where: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        state = "is not set" if value is None else f"is {value!r}"
        raise RecipeError(
            f"'{key}' {state}; `at_least` compares numbers.", where=where, fix="give another key."
        )
    return value


def _runs(names: _Names, cells: Sequence[Cell]) -> tuple[Run, ...]:
    """Every run once, seed by seed, and each after the one it starts from."""
    labels = list(dict.fromkeys(cell.training for cell in cells))
    depth = _depths({label: names.found[label].training.after for label in labels})
    runs: dict[str, Run] = {}
    for seed in names.seeds:
        for label in sorted(labels, key=depth):
            name = names.of(label, seed)
            scorings = {cell.scoring.key: cell.scoring for cell in cells if cell.training == label}
            if (known := runs.get(name)) is not None:
                scorings = {scoring.key: scoring for scoring in known.scorings} | scorings
            recipe, parent = names.recipe(label, seed), names.parent(label, seed)
            first = label if known is None else known.label
            runs[name] = Run(name, first, seed, recipe, parent, tuple(scorings.values()))
    return tuple(runs.values())


def _depths(after: Mapping[str, str | None]) -> Callable[[str], int]:
    def depth(label: str) -> int:
        parent = after.get(label)
        return 0 if parent is None else 1 + depth(parent)

    return depth
