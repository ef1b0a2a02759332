"""One run in its own process: train, measure, score every evaluation, record.

What is there already is kept: a finished training, a finished evaluation. An unfinished training
starts again from its seed.

`cell.json`: `status` is "trained", "done" or "failed" (then `reason` says why); `train_s` is the
training alone, without evaluation; `step_s` the median of the means that the journal holds;
`peak_memory_gb` the peak of the training above what the libraries had taken before, as `mimdet
profile` measures it, null where it cannot be; `gmacs` those of a photograph in evaluation, as
`mimdet profile` counts, all evaluations of an ensemble together; `ap` of an evaluation is the
accuracies as `mimdet eval --json` prints them.
"""

import json
import platform
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mimdet_cli.ablation.layout import CELL, LAST, read_record, run_folder
from mimdet_cli.ablation.plan import own_data
from mimdet_cli.ablation.plan.count import count
from mimdet_cli.ablation.plan.plan import Plan, Run, Scoring
from mimdet_cli.ablation.run.claiming import (
    LOCK,
    enter,
    is_scored,
    is_trained,
    locked,
    write_record,
)
from mimdet_cli.build import choose_device, complete
from mimdet_cli.engine.checkpoint import is_whole
from mimdet_cli.engine.journal import Journal
from mimdet_cli.errors import MimdetError, WeightsError
from mimdet_cli.files import whole_folder
from mimdet_cli.jobs.run_folder import CLASSES, METRICS, RECIPE, WEIGHTS
from mimdet_cli.jobs.scoring import score_run
from mimdet_cli.jobs.training import train
from mimdet_cli.measure.memory import GB, meter, unmeasurable
from mimdet_cli.progress import Progress
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin


def run_cell(plan: Plan, run: Run, *, device: str | None, progress: Progress) -> dict[str, Any]:
    """Do what is left of a run; its record, which is in its folder too.

    Refused where another process is at it.
    """
    enter(plan)
    prepare_data(plan, progress)
    folder = run_folder(plan.request.out, run.hash)
    with locked(folder / LOCK):
        try:
            _start_is_there(plan, run)
            record = _train(folder, run, device, progress)
            for scoring in run.scorings:
                record = _score(folder, record, run, scoring, device, progress)
        except Exception as error:
            record_failure(folder, run, reason_of(error))
            raise
        record |= {"status": "done", "reason": None}
        write_record(folder / CELL, record)
    return record


def prepare_data(plan: Plan, progress: Progress) -> None:
    """Draw the embedded data set, if the ablation uses it; one process does."""
    out = plan.request.out
    if plan.data == own_data.IDENTITY:
        with locked(out / "data.lock", wait=True):
            own_data.make(out, progress)


def record_failure(folder: Path, run: Run, reason: str) -> None:
    """Say in the run's record why it is not done; what it has stays."""
    record = _identity(run) | read_record(folder / CELL)
    write_record(folder / CELL, record | {"status": "failed", "reason": reason})


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, MimdetError):
        return f"{error.what} ({error.where})" if error.where else error.what
    return " ".join(f"{type(error).__name__}: {error}".split())


def unscored(recipe: ResolvedRecipe) -> ResolvedRecipe:
    """The recipe without evaluations on the way: a cell scores its run when it is trained."""
    training = recipe.recipe.train.model_copy(update={"evals": 0})
    return replace(recipe, recipe=recipe.recipe.model_copy(update={"train": training}))


def _identity(run: Run) -> dict[str, Any]:
    return {"hash": run.hash, "label": run.label, "seed": run.seed, "parent": run.parent}


def _start_is_there(plan: Plan, run: Run) -> None:
    if run.parent is None or is_whole(run_folder(plan.request.out, run.parent) / LAST):
        return
    raise WeightsError(
        f"the run that it goes on from, {run.parent}, is not trained.",
        where=str(run_folder(plan.request.out, run.parent)),
        fix="run that one first, or let `mimdet ablate` run both.",
    )


def _train(folder: Path, run: Run, device: str | None, progress: Progress) -> dict[str, Any]:
    """The record of the trained run."""
    record = read_record(folder / CELL)
    if is_trained(folder, record):
        return record
    target = folder / "run"
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(folder / "evals", ignore_errors=True)
    chosen = choose_device(device)
    memory = None if unmeasurable(chosen) else meter(chosen)
    report = train(unscored(run.recipe), out=target, resume=False, device=device, progress=progress)
    peak_gb = None if memory is None else round(memory.peak() / GB, 4)
    recipe = complete(load_recipe(target / "last" / RECIPE)).recipe
    counts = count(recipe, _classes(target))
    steps = [one["step_s"] for one in Journal(target / METRICS).read() if one["event"] == "train"]
    record = _identity(run) | {
        "status": "trained",
        "reason": None,
        "train_s": round(report.train_s, 3),
        "steps": report.steps,
        "step_s": statistics.median(steps),
        "peak_memory_gb": peak_gb,
        "parameters": counts.parameters,
        "gmacs": counts.gmacs,
        "device": _hardware(chosen),
        "torch": str(torch.__version__),
        "weights": _provenance(target),
        "evaluations": {},
    }
    write_record(folder / CELL, record)
    return record


def _score(
    folder: Path,
    record: dict[str, Any],
    run: Run,
    scoring: Scoring,
    device: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """The record with one evaluation more."""
    if is_scored(folder, record, scoring.key):
        return record
    origin = Origin("the ablation's evaluation")
    overrides = [Override(key, value, origin) for key, value in scoring.settings.items()]
    target = folder / "run"
    with whole_folder(folder / "evals" / scoring.key) as partial:
        report = score_run(
            target,
            data=run.recipe.recipe.data.root,
            overrides=overrides,
            device=device,
            progress=progress,
            evals=scoring.evals,
            folder=partial,
        )
    recipe = complete(load_recipe(target / "last" / RECIPE, overrides)).recipe
    gmacs = count(recipe, _classes(target)).gmacs
    record["evaluations"][scoring.key] = {
        "settings": dict(scoring.settings),
        "evals": scoring.evals,
        "ap": report.ap.to_json(),
        "eval_s": None if report.seconds is None else round(report.seconds, 3),
        "gmacs": None if gmacs is None else gmacs * scoring.evals,
        "folder": f"evals/{scoring.key}",
    }
    write_record(folder / CELL, record)
    return record


def _classes(run: Path) -> int:
    return len(json.loads((run / "last" / CLASSES).read_text(encoding="utf-8")))


def _provenance(run: Path) -> list[dict[str, Any]]:
    """The files that the weights came from, without the names of all their tensors."""
    records = json.loads((run / WEIGHTS).read_text(encoding="utf-8"))
    return [
        {key: one.get(key) for key in ("file", "format", "licence", "lines")} for one in records
    ]


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type}, {torch.get_num_threads()} threads"
