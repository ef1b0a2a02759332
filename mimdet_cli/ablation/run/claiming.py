"""Claim an ablation's folder for one plan, and a run for one process.

The folder is claimed by the recorded plan: only a plan of the same base, data and `--set` may
continue it. A run is claimed by a lock file that the system frees when its process ends.
"""

import fcntl
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mimdet_cli.ablation.folder import RUNS, plan_file, read_record, write_record
from mimdet_cli.ablation.plan.make import Plan
from mimdet_cli.errors import BusyError, RecipeError, ResourceError

LOCK = "lock"


def enter(plan: Plan) -> None:
    """Make the folder and record the plan; an error if the folder holds another base or data."""
    out, name = plan.request.out, plan.definition.name
    path = plan_file(out, name)
    new = _record_of(plan)
    old = read_record(path)
    _refuse_others(path, old, new)
    try:
        for folder in (path.parent, out / RUNS):
            folder.mkdir(parents=True, exist_ok=True)
        if old != new:
            write_record(path, new)
    except OSError as error:
        raise ResourceError(
            f"the folder of the ablation cannot be written: {error.strerror}.",
            where=str(out),
            fix="give another folder with --out.",
        ) from error


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`; without `wait`, a `BusyError` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            raise BusyError(
                f"{file.read().strip() or 'another process'} is working on it.",
                where=str(path.parent),
                fix="run the command again when that process has ended.",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def holder(path: Path) -> str | None:
    """A sentence on the process that holds the lock file at `path`, if any does."""
    try:
        with locked(path):
            return None
    except BusyError as error:
        return error.what


def _refuse_others(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """One table compares runs of one base, one data set and the same `--set`."""
    errors = [
        RecipeError(
            f"the folder holds this ablation {_with(what, old[key])}, not {_with(what, new[key])}: "
            "one table cannot mix them.",
            where=str(path),
            fix="give another folder with --out, or the same options as before.",
        )
        for key, what in (("base", "from"), ("data", "on data"), ("overrides", "with"))
        if old and old[key] != new[key]
    ]
    if errors:
        raise RecipeError.joined(errors)


def _record_of(plan: Plan) -> dict[str, Any]:
    request = plan.request
    return {
        "name": plan.definition.name,
        "ablation": plan.definition.ablation.model_dump(mode="json"),
        "base": plan.base,
        "own_base": plan.own_base,
        "small": plan.small,
        "overrides": list(request.overrides),
        "data": plan.data,
        "added": list(request.added),
        "left_out": dict(plan.left_out),
        "cells": [cell.to_json() for cell in plan.cells],
    }


def _with(what: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(f"--set {text}" for text in value) or "without --set"
    return f"{what} {value}"
