"""What the folder of an ablation has recorded, checked: the plan and the figures of its runs.

The report reads nothing else about the plan, so that it needs neither the ablation's file nor its
recipes, which may have changed since, and starts without making any model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mimdet_cli.ablation.definition import Ablation
from mimdet_cli.ablation.layout import CELL, RECORDS, damaged, read_record, run_folder
from mimdet_cli.ablation.request import Request
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.evaluation.metrics import ACCURACIES, COSTS
from mimdet_cli.recipe.catalog import find_recipe, shown

Figures = dict[str, float | int | None]
"""Figures by the keys of the metrics."""
AnyRecord = TypeVar("AnyRecord", bound="Record")


class Record(BaseModel):
    """A file of ours; what a later version adds to it is passed over."""

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
    """What was asked for last, and the rows that it came to."""

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
        """The cell that the others are compared with."""
        return self.ablation.default or self.cells[0].label

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every cell."""
        return tuple(self.cells[0].runs)


class Evaluated(Record):
    """The figures of one evaluation of a run; a metric that was not recorded has no key."""

    figures: Figures

    @model_validator(mode="before")
    @classmethod
    def _of_file(cls, values: Any) -> Any:
        """Accuracies from `ap`, costs beside it."""
        if not isinstance(values, dict) or not isinstance(values.get("ap"), dict):
            raise ValueError("an evaluation without its AP")
        ap = _by_key(values["ap"])
        costs = {one.key: values.get(one.key) for one in COSTS if one.per_evaluation}
        return {"figures": {one.key: ap[one.key] for one in ACCURACIES if one.key in ap} | costs}


class RunRecord(Record):
    """The figures of a run, as far as it has come; without any before it is trained."""

    status: Literal["trained", "done", "failed", "to do"] = "to do"
    reason: str | None = None
    parent: str | None = None
    costs: Figures = {}
    device: str | None = None
    evaluations: dict[str, Evaluated] = {}

    @model_validator(mode="before")
    @classmethod
    def _of_file(cls, values: Any) -> Any:
        """Costs stand in the file under their own keys."""
        if not isinstance(values, dict):
            return values
        return {**values, "costs": {one.key: values.get(one.key) for one in COSTS}}

    @property
    def is_trained(self) -> bool:
        """Whether the training has come to its end."""
        return self.costs.get("train_s") is not None


def read_ablation(out: Path, name: str) -> AblationRecord:
    """What is recorded of an ablation in the folder `out`."""
    path = out / RECORDS / f"{name}.json"
    values = read_record(path)
    if not values:
        there = sorted(one.stem for one in path.parent.glob("*.json"))
        raise RecipeError(
            f"the folder holds no ablation '{name}'.",
            where=str(out),
            fix=f"it holds {', '.join(there)}."
            if there
            else "name the folder of its runs with --out, or run it first: leave --report out.",
        )
    return _checked(AblationRecord, values, path)


def read_runs(out: Path, record: AblationRecord) -> dict[str, RunRecord]:
    """Every run of the table and those that they go on from, by hash; all damaged ones at once."""
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


def refuse_another(record: AblationRecord, request: Request, path: Path) -> None:
    """What is asked for has to be what the folder holds, wherever it is said."""
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
            where=str(path),
            fix="leave that option out: the report is of what the folder holds; or give another "
            "folder with --out.",
        )
        for how, held, wanted in asked
        if held != wanted
    ]
    if errors:
        raise RecipeError.joined(errors)


def _by_key(ap: Mapping[str, Any]) -> Mapping[str, Any]:
    """An AP report as it is written; `{"box": {"AP50": ...}, "mask": null}` is an older form."""
    if "box" not in ap:
        return ap
    rows = {task: row for task, row in ap.items() if task in ("box", "mask") and row is not None}
    return {
        one.key: rows[one.task][one.label]
        for one in ACCURACIES
        if one.label in rows.get(one.task, {})
    }


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "(none)"


def _checked(kind: type[AnyRecord], values: Mapping[str, Any], path: Path) -> AnyRecord:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise damaged(path, f"{place}: {first['msg']}") from error
