"""The folder of an ablation: what is where in it, and its records, read and checked.

ablations/NAME.json   the plan: what was asked for and the rows of the table, with their runs
runs/HASH/            one run: cell.json (its figures), run/ (as `mimdet train` makes it),
                      evals/KEY/ (predictions and results of each evaluation), log.txt, lock
reports/NAME.*        the report as Markdown, CSV, JSON and a plot
data/                 the embedded data set, if the ablation uses it

Several processes may fill one folder at the same time (`run.claiming`). A report reads the plan
from here alone: it needs neither the ablation's file nor its recipes, which may have changed since.
"""

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mimdet_cli.ablation.definition import Ablation, Request
from mimdet_cli.errors import DataError, MimdetError, RecipeError
from mimdet_cli.evaluation.metrics import ACCURACIES, COSTS
from mimdet_cli.files import write_text
from mimdet_cli.recipe.catalog import find_recipe, shown

RUNS = "runs"
REPORTS = "reports"
EVALUATIONS = "evals"
CELL = "cell.json"
LAST = Path("run") / "last"

Figures = dict[str, float | int | None]
"""Figures by metric key."""
AnyRecord = TypeVar("AnyRecord", bound="Record")


class Record(BaseModel):
    """A JSON file of the folder; keys that a later version adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CellRecord(Record):
    """A row of the table; `runs` are hashes by seed, `key` names the evaluation in each."""

    label: str
    training: str
    evaluation: str
    key: str
    settings: dict[str, Any]
    evals: int
    runs: dict[int, str]


class AblationRecord(Record):
    """The latest plan: what was asked for, and the rows of its table."""

    name: str
    ablation: Ablation
    base: str
    own_base: str
    small: bool
    overrides: list[str]
    data: str | None
    added: list[str]
    left_out: dict[str, str]
    cells: list[CellRecord]

    @property
    def default(self) -> str:
        """The cell to compare the others with."""
        return self.ablation.default or self.cells[0].label

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every cell."""
        return tuple(self.cells[0].runs)


class Evaluated(Record):
    """The figures of one evaluation; a metric that was not recorded has no key."""

    figures: Figures

    @model_validator(mode="before")
    @classmethod
    def _of_file(cls, values: Any) -> Any:
        """Accuracies are in `ap`, costs beside it."""
        if not isinstance(values, dict) or not isinstance(values.get("ap"), dict):
            raise ValueError("an evaluation without AP")
        ap = _by_key(values["ap"])
        costs = {metric.key: values.get(metric.key) for metric in COSTS if metric.per_evaluation}
        return {
            "figures": {metric.key: ap[metric.key] for metric in ACCURACIES if metric.key in ap}
            | costs
        }


class RunRecord(Record):
    """The figures of a run so far; none before it is trained."""

    status: Literal["trained", "done", "failed", "to do"] = "to do"
    reason: str | None = None
    parent: str | None = None
    costs: Figures = {}
    device: str | None = None
    evaluations: dict[str, Evaluated] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_file(cls, values: Any) -> Any:
        """The file holds each cost under its own key."""
        if not isinstance(values, dict):
            return values
        return {**values, "costs": {metric.key: values.get(metric.key) for metric in COSTS}}

    @property
    def is_trained(self) -> bool:
        """Whether the training is finished."""
        return self.costs.get("train_s") is not None


def plan_file(out: Path, name: str) -> Path:
    """Where the plan of an ablation is recorded."""
    return out / "ablations" / f"{name}.json"


def run_folder(out: Path, name: str) -> Path:
    """The folder of the run with hash `name`."""
    return out / RUNS / name


def is_scored(folder: Path, evaluations: Container[str], key: str) -> bool:
    """Whether the run in `folder`, which records `evaluations`, has the results of one."""
    return key in evaluations and (folder / EVALUATIONS / key).is_dir()


def read_record(path: Path) -> dict[str, Any]:
    """A JSON file of the folder; empty if it does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(path, f"{error}") from error


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file in one step, so that other processes never see half of it."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def read_plan(out: Path, name: str) -> AblationRecord:
    """The recorded plan of an ablation in the folder `out`."""
    path = plan_file(out, name)
    values = read_record(path)
    if not values:
        there = sorted(file.stem for file in path.parent.glob("*.json"))
        raise RecipeError(
            f"the folder holds no ablation '{name}'.",
            where=str(out),
            fix=f"it holds {', '.join(there)}."
            if there
            else "give the folder of its runs with --out, or run it first (omit --report).",
        )
    return _checked(AblationRecord, values, path)


def read_runs(out: Path, record: AblationRecord) -> dict[str, RunRecord]:
    """All runs of the table and the runs they start from, by hash; damaged ones in one error."""
    found: dict[str, RunRecord] = {}
    errors: list[MimdetError] = []
    left = [name for cell in record.cells for name in cell.runs.values()]
    while left:
        name = left.pop(0)
        if name in found:
            continue
        path = run_folder(out, name) / CELL
        found[name] = RunRecord()
        try:
            found[name] = _checked(RunRecord, read_record(path), path)
        except MimdetError as error:
            errors.append(error)
        left += [found[name].parent or name]
    if errors:
        raise MimdetError.joined(errors)
    return found


def refuse_another(record: AblationRecord, request: Request) -> None:
    """A report is of what the folder holds: options that ask for something else are errors."""
    asked: list[tuple[str, object, object]] = []
    if request.base is not None:
        asked.append(("from the base", record.base, shown(find_recipe(request.base))))
    if request.overrides:
        asked.append(("with --set", _listed(record.overrides), _listed(request.overrides)))
    if request.seeds is not None:
        seeds = tuple(range(request.seeds))
        asked.append(("from the seeds", _listed(record.seeds), _listed(seeds)))
    if request.added:
        asked.append(("with --add", _listed(record.added), _listed(request.added)))
    errors = [
        RecipeError(
            f"the folder holds this ablation {how} {held}, not {wanted}.",
            where=str(plan_file(request.out, record.name)),
            fix="omit that option to report what the folder holds, or give another folder "
            "with --out.",
        )
        for how, held, wanted in asked
        if held != wanted
    ]
    if errors:
        raise RecipeError.joined(errors)


def _by_key(ap: Mapping[str, Any]) -> Mapping[str, Any]:
    """An AP report by metric key; `{"box": {"AP50": ...}, "mask": null}` is an older form."""
    if "box" not in ap:
        return ap
    rows = {task: row for task, row in ap.items() if task in ("box", "mask") and row is not None}
    return {
        metric.key: rows[metric.task][metric.label]
        for metric in ACCURACIES
        if metric.label in rows.get(metric.task, {})
    }


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "(none)"


def _checked(kind: type[AnyRecord], values: Mapping[str, Any], path: Path) -> AnyRecord:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise _damaged(path, f"{place}: {first['msg']}") from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"the record is damaged: {why}.",
        where=str(path),
        fix="delete it and run the ablation again, which repeats the work it recorded.",
    )
