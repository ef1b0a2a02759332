"""The folder of an ablation, which several processes may fill at once.

ablations/NAME.json   what was asked for and the rows of the table, by the names of their runs
runs/HASH/            one run: cell.json (its figures), run/ (as `mimdet train` makes it),
                      evals/KEY/ (predictions and results of each evaluation), log.txt, lock
reports/NAME.*        the report as Markdown, CSV, JSON and a plot
data/                 the embedded data set, where the ablation is given no other
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mimdet_cli.ablation.layout import CELL, RECORDS, RUNS, read_record, run_folder
from mimdet_cli.ablation.plan.plan import Plan, Run
from mimdet_cli.engine.checkpoint import is_whole
from mimdet_cli.errors import BusyError, RecipeError, ResourceError
from mimdet_cli.files import write_text

LOCK = "lock"


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that appears whole, whoever else writes it at the same time."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def is_done(out: Path, run: Run) -> bool:
    """Whether a run is trained and every evaluation of it is there."""
    folder = run_folder(out, run.hash)
    record = read_record(folder / CELL)
    return is_trained(folder, record) and all(
        is_scored(folder, record, scoring.key) for scoring in run.scorings
    )


def is_trained(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the run was trained to its end."""
    return record.get("train_s") is not None and is_whole(folder / "run" / "last")


def is_scored(folder: Path, record: Mapping[str, Any], key: str) -> bool:
    """Whether an evaluation of the run is there."""
    return key in record.get("evaluations", {}) and (folder / "evals" / key).is_dir()


def enter(plan: Plan) -> None:
    """Make the folder and record the plan, unless the folder is another base's or other data's."""
    out, name = plan.request.out, plan.source.name
    path = out / RECORDS / f"{name}.json"
    new = _record_of(plan)
    refuse_others(path, new)
    try:
        for folder in (path.parent, out / RUNS):
            folder.mkdir(parents=True, exist_ok=True)
        if read_record(path) != new:
            write_record(path, new)
    except OSError as error:
        raise ResourceError(
            f"the folder of the ablation cannot be written: {error.strerror}.",
            where=str(out),
            fix="give another folder with --out.",
        ) from error


def refuse_others(path: Path, new: Mapping[str, Any]) -> None:
    """One table compares runs of one base, one data set and the same `--set`."""
    old = read_record(path)
    errors = [
        RecipeError(
            f"the folder holds this ablation {_with(what, old[key])}, not {_with(what, new[key])}: "
            "one table does not mix them.",
            where=str(path),
            fix="give another --out, or ask for the same as before.",
        )
        for key, what in (("base", "from"), ("data", "on data"), ("overrides", "with"))
        if old and old[key] != new[key]
    ]
    if errors:
        raise RecipeError.joined(errors)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`; the system frees it when its process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            raise BusyError(
                f"{file.read().strip() or 'another process'} is at work on it.",
                where=str(path.parent),
                fix="run the command again when that one has ended.",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def holder(path: Path) -> str | None:
    """What is said of who holds the lock file at `path`, if anybody does."""
    try:
        with locked(path):
            return None
    except BusyError as error:
        return error.what


def _record_of(plan: Plan) -> dict[str, Any]:
    request = plan.request
    return {
        "name": plan.source.name,
        "ablation": plan.source.ablation.model_dump(mode="json"),
        "base": plan.base,
        "own_base": plan.own_base,
        "small": plan.small,
        "overrides": list(request.overrides),
        "data": plan.data,
        "added": list(request.added),
        "left_out": dict(plan.left_out),
        "cells": [
            {
                "label": cell.label,
                "training": cell.training,
                "evaluation": cell.evaluation,
                "key": cell.scoring.key,
                "settings": dict(cell.scoring.settings),
                "evals": cell.scoring.evals,
                "runs": {str(seed): name for seed, name in cell.runs.items()},
            }
            for cell in plan.cells
        ],
    }


def _with(what: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(f"--set {text}" for text in value) or "without --set"
    return f"{what} {value}"
