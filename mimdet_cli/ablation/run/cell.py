"""One run of an ablation in this process: train, measure, score every evaluation, record.

A finished training and finished evaluations are kept. An unfinished training starts again from its
seed.

`cell.json`: `status` is "trained", "done" or "failed" (then `reason` says why); `train_s` is the
training alone, without evaluation; `step_s` the median of the means in the journal;
`peak_memory_gb` the peak of the training above what the libraries had taken before, measured as by
`mimdet profile`, null where it cannot be; `gmacs` those of a photograph in evaluation, counted as
by `mimdet profile`, all evaluations of an ensemble together; `ap` of an evaluation holds the
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

from mimdet_cli.ablation.folder import (
    CELL,
    EVALUATIONS,
    LAST,
    is_scored,
    read_record,
    run_folder,
    write_record,
)
from mimdet_cli.ablation.plan.cost import count
from mimdet_cli.ablation.plan.identity import EMBEDDED, EMBEDDED_SIZE, embedded_folder
from mimdet_cli.ablation.plan.make import Plan, Run, Scoring, is_trained
from mimdet_cli.ablation.run.claiming import LOCK, enter, locked
from mimdet_cli.build import choose_device, complete
from mimdet_cli.data.synthetic import write_demo
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
    """Do what is left of a run and return its record; a `BusyError` if another process does."""
    enter(plan)
    prepare_data(plan, progress)
    folder = plan.folder(run)
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
    """Generate the embedded data set, if the ablation uses it and no process has yet."""
    if plan.data != EMBEDDED:
        return
    out = plan.request.out
    train_images, val_images, _ = EMBEDDED_SIZE
    folder = embedded_folder(out)
    with locked(out / "data.lock", wait=True):
        if write_demo(folder, train=train_images, val=val_images):
            progress.say(f"data: generated the embedded data set in {folder}")


def record_failure(folder: Path, run: Run, reason: str) -> None:
    """Record why a run failed; figures that it has stay."""
    record = _identity(run) | read_record(folder / CELL)
    write_record(folder / CELL, record | {"status": "failed", "reason": reason})


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, MimdetError):
        return f"{error.what} ({error.where})" if error.where else error.what
    return " ".join(f"{type(error).__name__}: {error}".split())


def unscored(recipe: ResolvedRecipe) -> ResolvedRecipe:
    """The recipe without evaluations during training: a cell scores its run afterwards."""
    training = recipe.recipe.train.model_copy(update={"evals": 0})
    return replace(recipe, recipe=recipe.recipe.model_copy(update={"train": training}))


def _identity(run: Run) -> dict[str, Any]:
    return {"hash": run.hash, "label": run.label, "seed": run.seed, "parent": run.parent}


def _start_is_there(plan: Plan, run: Run) -> None:
    if run.parent is None or is_whole(run_folder(plan.request.out, run.parent) / LAST):
        return
    raise WeightsError(
        f"the run it starts from, {run.parent}, is not trained.",
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
    shutil.rmtree(folder / EVALUATIONS, ignore_errors=True)
    chosen = choose_device(device)
    memory = None if unmeasurable(chosen) else meter(chosen)
    report = train(unscored(run.recipe), out=target, resume=False, device=device, progress=progress)
    peak_gb = None if memory is None else round(memory.peak() / GB, 4)
    recipe = complete(load_recipe(target / "last" / RECIPE)).recipe
    parameters, gmacs = count(recipe, _classes(target))
    journal = Journal(target / METRICS).read()
    steps = [event["step_s"] for event in journal if event["event"] == "train"]
    record = _identity(run) | {
        "status": "trained",
        "reason": None,
        "train_s": round(report.train_s, 3),
        "steps": report.steps,
        "step_s": statistics.median(steps),
        "peak_memory_gb": peak_gb,
        "parameters": parameters,
        "gmacs": gmacs,
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
    """The record with one more evaluation."""
    if is_scored(folder, record["evaluations"], scoring.key):
        return record
    origin = Origin("the ablation's evaluation")
    overrides = [Override(key, value, origin) for key, value in scoring.settings.items()]
    target = folder / "run"
    with whole_folder(folder / EVALUATIONS / scoring.key) as partial:
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
    _, gmacs = count(recipe, _classes(target))
    record["evaluations"][scoring.key] = {
        "settings": dict(scoring.settings),
        "evals": scoring.evals,
        "ap": report.ap.to_json(),
        "eval_s": None if report.seconds is None else round(report.seconds, 3),
        "gmacs": None if gmacs is None else gmacs * scoring.evals,
        "folder": f"{EVALUATIONS}/{scoring.key}",
    }
    write_record(folder / CELL, record)
    return record


def _classes(run: Path) -> int:
    return len(json.loads((run / "last" / CLASSES).read_text(encoding="utf-8")))


def _provenance(run: Path) -> list[dict[str, Any]]:
    """The files that the weights came from, without the names of all their tensors."""
    records = json.loads((run / WEIGHTS).read_text(encoding="utf-8"))
    return [
        {key: record.get(key) for key in ("file", "format", "licence", "lines")}
        for record in records
    ]


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type}, {torch.get_num_threads()} threads"
