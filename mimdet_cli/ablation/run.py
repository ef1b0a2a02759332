"""Run what is left of an ablation, each run in its own process, past those that fail.

A process of its own measures its memory alone, and takes nobody with it when it dies.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import mimdet_cli
from mimdet_cli.ablation.cell import prepare_data, record_failure
from mimdet_cli.ablation.folder import LOCK, enter, holder, is_done
from mimdet_cli.ablation.layout import CELL, read_record, run_folder
from mimdet_cli.ablation.own_data import is_own
from mimdet_cli.ablation.plan import Plan, Run
from mimdet_cli.ablation.records import RunRecord
from mimdet_cli.build import choose_device
from mimdet_cli.data.coco.split import find_data
from mimdet_cli.errors import BusyError, DataError, MimdetError, RecipeError
from mimdet_cli.evaluation.metrics import BEST
from mimdet_cli.progress import Progress
from mimdet_cli.words import counted, lasting

LOG = "log.txt"
SPLITS: tuple[Literal["train"], Literal["val"]] = ("train", "val")
PATIENCE_S = 20


@dataclass(slots=True)
class Outcome:
    """What became of the runs: by hash, why it failed, or who else is at it."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)


def run_plan(
    plan: Plan, *, shard: tuple[int, int], device: str | None, progress: Progress
) -> Outcome:
    """Run the part of the plan that `shard` (number from 1, of how many) names."""
    choose_device(device)
    require_data(plan)
    enter(plan)
    prepare_data(plan, progress)
    outcome = Outcome()
    runs = of_shard(plan.runs, shard)
    left = [run for run in runs if not is_done(plan.request.out, run)]
    outcome.done = [run.hash for run in runs if run not in left]
    if outcome.done:
        progress.say(f"{counted(len(outcome.done), 'run')} of {len(runs)} done before")
    spent: list[float] = []
    for number, run in enumerate(left, 1):
        place = f"[{len(runs) - len(left) + number}/{len(runs)}] {run.title}"
        progress.say(f"{place} ...")
        began = time.monotonic()
        told = _run_one(plan, run, device, outcome)
        spent.append(time.monotonic() - began)
        rest = len(left) - number
        eta = f"; about {lasting(sum(spent) / len(spent) * rest)} left" if rest else ""
        progress.say(f"{place}: {told} ({lasting(spent[-1])}{eta})")
    for run in plan.runs:
        if run.hash in outcome.busy and is_done(plan.request.out, run):
            del outcome.busy[run.hash]
            outcome.done.append(run.hash)
    return outcome


def require_data(plan: Plan) -> None:
    """Every run's data have to be there before the first one starts."""
    errors: dict[str, MimdetError] = {}
    for run in plan.runs:
        data = run.recipe.recipe.data
        for split in () if is_own(data, plan.request.out) else SPLITS:
            try:
                find_data(data, split)
            except DataError as error:
                errors.setdefault(str(error), error)
    if errors:
        raise DataError.joined(list(errors.values()))


def of_shard(runs: Sequence[Run], shard: tuple[int, int]) -> list[Run]:
    """Every `n`-th run of the plan; one that goes on from another is in that one's shard."""
    number, count = shard
    place: dict[str, int] = {}
    for run in runs:
        new = len({*place.values()})
        place[run.hash] = place.get(run.parent or "", new)
    return [run for run in runs if place[run.hash] % count == number - 1]


def commands(plan: Plan, device: str | None) -> list[str]:
    """One shell command for each run, in an order in which they can run one after the other."""
    return [shlex.join(["mimdet", *_words(plan, run, device)]) for run in plan.runs]


def parse_shard(text: str) -> tuple[int, int]:
    """`2/3` as (2, 3)."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise RecipeError(
        f"'{text}' is not a shard.",
        where="--shard",
        fix="give its number from 1 and how many there are, such as 1/4.",
    )


def _run_one(plan: Plan, run: Run, device: str | None, outcome: Outcome) -> str:
    """Run it in a process and say how it went, in a few words."""
    folder = run_folder(plan.request.out, run.hash)
    if run.parent in outcome.busy:
        outcome.busy[run.hash] = outcome.busy[run.parent]
        return f"left out: it goes on from {run.parent}: {outcome.busy[run.parent]}"
    if run.parent in outcome.failed:
        reason = f"the run that it goes on from, {run.parent}, is not trained"
        outcome.failed[run.hash] = reason
        folder.mkdir(parents=True, exist_ok=True)
        record_failure(folder, run, reason)
        return f"failed: {reason}"
    before = read_record(folder / CELL)
    other = holder(folder / LOCK)
    code = _spawn(_words(plan, run, device), folder / LOG) if other is None else BusyError.exit_code
    if code == BusyError.exit_code:
        outcome.busy[run.hash] = other or holder(folder / LOCK) or "another process had it."
        return f"left out: {outcome.busy[run.hash]}"
    if code == 0 and is_done(plan.request.out, run):
        outcome.done.append(run.hash)
        return _figures(read_record(folder / CELL), run)
    record = read_record(folder / CELL)
    if record == before or record.get("status") != "failed":  # it had no time to say why
        record_failure(folder, run, _last_words(folder / LOG, code))
        record = read_record(folder / CELL)
    outcome.failed[run.hash] = record["reason"]
    return f"failed: {record['reason']}"


def _words(plan: Plan, run: Run, device: str | None) -> list[str]:
    chosen = [] if device is None else ["--device", device]
    return ["ablate", *plan.request.arguments(), *chosen, "--cell", run.hash]


def _spawn(words: Sequence[str], log: Path) -> int:
    """Exit code of the command, whose output goes to `log`; ends it when this process is ended."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mimdet_cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _environment() -> dict[str, str]:
    """That of this process, in which this very mimdet is found, from wherever it was started."""
    root = Path(mimdet_cli.__file__).parents[1]
    if root.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_words(log: Path, code: int) -> str:
    """Why a process ended that left no reason."""
    if code < 0:
        return f"its process was ended by signal {-code}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    said = (errors or lines or [f"exit code {code}"])[-1]
    return said.removeprefix("error: ")


def _figures(record: dict[str, Any], run: Run) -> str:
    """The box AP of its evaluations."""
    evaluations = RunRecord.model_validate(record).evaluations
    scored = [evaluations[one.key].figures[BEST.key] for one in run.scorings]
    values = [value for value in scored if value is not None]
    if not values:
        return f"{BEST.name} {BEST.text(None)}"
    told = f"{BEST.name} {BEST.text(min(values))}"
    return told if len(scored) == 1 else f"{told} to {BEST.text(max(values))}"
