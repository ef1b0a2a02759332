"""Run what is left of an ablation, or one shard of it, each run in its own process.

So each run measures its own memory only, and one that fails or dies leaves the others running.
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
from mimdet_cli.ablation.folder import RunRecord
from mimdet_cli.ablation.plan.identity import is_embedded
from mimdet_cli.ablation.plan.make import Plan, Run
from mimdet_cli.ablation.run.cell import prepare_data, record_failure
from mimdet_cli.ablation.run.claiming import LOCK, enter, holder
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
class PlanOutcome:
    """Runs by hash: those that are done, why others failed, and which processes have the rest."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)

    def lines(self, plan: Plan) -> list[str]:
        """The runs that are not done, with the reasons."""
        titles = {run.hash: run.title for run in plan.runs}
        return [
            *(f"failed: {titles[name]}: {reason}" for name, reason in self.failed.items()),
            *(f"not run: {titles[name]}: {who}" for name, who in self.busy.items()),
        ]


def run_plan(
    plan: Plan, *, shard: tuple[int, int], device: str | None, progress: Progress
) -> PlanOutcome:
    """Run one shard of the plan: its number, from 1, and the number of shards."""
    choose_device(device)
    require_data(plan)
    enter(plan)
    prepare_data(plan, progress)
    outcome = PlanOutcome()
    runs = of_shard(plan.runs, shard)
    left = [run for run in runs if not plan.is_done(run)]
    outcome.done = [run.hash for run in runs if run not in left]
    if outcome.done:
        progress.say(f"{counted(len(outcome.done), 'run')} of {len(runs)} already done")
    spent: list[float] = []
    for number, run in enumerate(left, 1):
        place = f"[{len(runs) - len(left) + number}/{len(runs)}] {run.title}"
        progress.say(f"{place} ...")
        began = time.monotonic()
        result = _run_one(plan, run, device, outcome)
        spent.append(time.monotonic() - began)
        rest = len(left) - number
        eta = f"; about {lasting(sum(spent) / len(spent) * rest)} left" if rest else ""
        progress.say(f"{place}: {result} ({lasting(spent[-1])}{eta})")
    for run in plan.runs:
        if run.hash in outcome.busy and plan.is_done(run):
            del outcome.busy[run.hash]
            outcome.done.append(run.hash)
    return outcome


def require_data(plan: Plan) -> None:
    """Raise an error if data of any run are missing, before the first one starts."""
    errors: dict[str, MimdetError] = {}
    for run in plan.runs:
        data = run.recipe.recipe.data
        for split in () if is_embedded(data, plan.request.out) else SPLITS:
            try:
                find_data(data, split)
            except DataError as error:
                errors.setdefault(str(error), error)
    if errors:
        raise DataError.joined(list(errors.values()))


def of_shard(runs: Sequence[Run], shard: tuple[int, int]) -> list[Run]:
    """Every `n`-th run of the plan; one that starts from another is in the shard of that."""
    number, count = shard
    place: dict[str, int] = {}
    for run in runs:
        new = len({*place.values()})
        place[run.hash] = place.get(run.parent or "", new)
    return [run for run in runs if place[run.hash] % count == number - 1]


def commands(plan: Plan, device: str | None) -> list[str]:
    """One shell command per run, each after the one that it starts from."""
    return [shlex.join(["mimdet", *_words(plan, run, device)]) for run in plan.runs]


def parse_shard(text: str) -> tuple[int, int]:
    """`2/3` as (2, 3)."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
        return int(number), int(count)
    raise RecipeError(
        f"'{text}' is not a shard.",
        where="--shard",
        fix="give the number of the shard, from 1, and how many there are, such as 1/4.",
    )


def _run_one(plan: Plan, run: Run, device: str | None, outcome: PlanOutcome) -> str:
    """Run it in a process, note the outcome, and return it in a few words."""
    folder = plan.folder(run)
    if run.parent in outcome.busy:
        outcome.busy[run.hash] = outcome.busy[run.parent]
        return f"skipped: it starts from {run.parent}: {outcome.busy[run.parent]}"
    if run.parent in outcome.failed:
        reason = f"the run it starts from, {run.parent}, is not trained"
        outcome.failed[run.hash] = reason
        folder.mkdir(parents=True, exist_ok=True)
        record_failure(folder, run, reason)
        return f"failed: {reason}"
    before = plan.record(run)
    other = holder(folder / LOCK)
    code = _spawn(_words(plan, run, device), folder / LOG) if other is None else BusyError.exit_code
    if code == BusyError.exit_code:
        outcome.busy[run.hash] = other or holder(folder / LOCK) or "another process ran it."
        return f"skipped: {outcome.busy[run.hash]}"
    if code == 0 and plan.is_done(run):
        outcome.done.append(run.hash)
        return _figures(plan.record(run), run)
    record = plan.record(run)
    if record == before or record.get("status") != "failed":  # it ended without a reason
        record_failure(folder, run, _last_words(folder / LOG, code))
        record = plan.record(run)
    outcome.failed[run.hash] = record["reason"]
    return f"failed: {record['reason']}"


def _words(plan: Plan, run: Run, device: str | None) -> list[str]:
    chosen = [] if device is None else ["--device", device]
    request = plan.request
    return ["ablate", *request.arguments(), "--out", str(request.out), *chosen, "--cell", run.hash]


def _spawn(words: Sequence[str], log: Path) -> int:
    """Exit code of a command whose output goes to `log`; an interrupt ends the command too."""
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
    """The environment of this process, changed so that the same mimdet is found."""
    root = Path(mimdet_cli.__file__).parents[1]
    if root.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _last_words(log: Path, code: int) -> str:
    """The reason of a process that ended without recording one."""
    if code < 0:
        return f"its process was ended by signal {-code}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    reason = (errors or lines or [f"exit code {code}"])[-1]
    return reason.removeprefix("error: ")


def _figures(record: dict[str, Any], run: Run) -> str:
    """The box AP of its evaluations."""
    evaluations = RunRecord.model_validate(record).evaluations
    scored = [evaluations[scoring.key].figures[BEST.key] for scoring in run.scorings]
    values = [value for value in scored if value is not None]
    if not values:
        return f"{BEST.name} {BEST.text(None)}"
    lowest = f"{BEST.name} {BEST.text(min(values))}"
    return lowest if len(scored) == 1 else f"{lowest} to {BEST.text(max(values))}"
