"""An ablation's folder -> one record of rows, from which every form of the report is written.

Our figures and the published ones are kept apart from the start: `Row.ap` and `Row.costs` come from
the folder, `Row.paper` from the ablation's file, and nothing is computed from both.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimdet_cli.ablation.claims import MEASURED, CellFigures, Verdict, judge
from mimdet_cli.ablation.differs import Sample, Split, differences
from mimdet_cli.ablation.layout import EVALUATIONS, RECORDS, run_folder
from mimdet_cli.ablation.measured import Measure
from mimdet_cli.ablation.published import PaperRow, paper_rows
from mimdet_cli.ablation.records import (
    AblationRecord,
    CellRecord,
    RunRecord,
    read_ablation,
    read_runs,
    refuse_another,
)
from mimdet_cli.ablation.request import Request
from mimdet_cli.ablation.schema import Metric
from mimdet_cli.ablation.splits import recipe_of, split_of
from mimdet_cli.ablation.statistics import (
    Difference,
    Estimate,
    Plan,
    Resampled,
    Spread,
    difference,
    estimate,
)
from mimdet_cli.errors import MimdetError
from mimdet_cli.progress import Progress

APS: Final[tuple[Metric, ...]] = ("box_ap", "mask_ap")
COSTS: Final[tuple[Metric, ...]] = (*MEASURED, "parameters", "gmacs")
Drawn = Mapping[tuple[str, str], Mapping[str, Resampled]]
"""Resampled AP by run and evaluation."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A cost by seed, its spread, and its mean as a multiple of the default cell's.

    `relative` is None for the default itself, and where that has none or is of another device.
    """

    by_seed: Mapping[int, float]
    spread: Spread
    relative: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A cell: `seeds` are those that it has been scored for, `wanted` all of them.

    `estimates` and `differences` (to the default cell) are by metric; what is not known is absent.
    """

    cell: CellRecord
    seeds: tuple[int, ...]
    wanted: tuple[int, ...]
    figures: CellFigures
    estimates: Mapping[Metric, Estimate]
    differences: Mapping[Metric, Difference]
    costs: Mapping[Metric, Cost]
    paper: PaperRow | None


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is: "done", "failed" or "unfinished", and why it is not done."""

    name: str
    title: str
    training: str
    seed: int
    state: str
    reason: str | None
    device: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a report says."""

    record: AblationRecord
    plan: Plan
    split: Split | None
    rows: Sequence[Row]
    runs: Sequence[RunState]
    verdicts: Sequence[Verdict]
    differs: Sequence[str]

    @property
    def devices(self) -> list[str]:
        """What the runs were made on."""
        return list(dict.fromkeys(run.device for run in self.runs if run.device))

    def shows(self, metric: Metric) -> bool:
        """Whether the ablation asks for a metric."""
        return metric in self.record.ablation.metrics

    def in_state(self, state: str) -> list[RunState]:
        """The runs that are in a state."""
        return [run for run in self.runs if run.state == state]


def summarise(request: Request, progress: Progress, plan: Plan | None = None) -> Summary:
    """What the folder of the request has come to, however far; nothing is run."""
    plan = plan or Plan()
    out, name = request.out, Path(request.name).stem
    record = read_ablation(out, name)
    refuse_another(record, request, out / RECORDS / f"{name}.json")
    runs = read_runs(out, record)
    drawn = _drawn(request, record, runs, plan, progress)
    figures = {cell.label: _figures(cell, runs, drawn) for cell in record.cells}
    rows = _rows(record, runs, figures, drawn, plan)
    table = {label: one for label, one in figures.items() if one.ap or one.costs}
    sample = _sample(request, record, runs)
    return Summary(
        record,
        plan,
        None if sample is None else sample.split,
        rows,
        [_state(out, record, name, runs[name]) for name in _ordered(record)],
        [judge(claim, table, plan) for claim in record.ablation.claims],
        differences(record, sample, runs),
    )


def _sample(
    request: Request, record: AblationRecord, runs: Mapping[str, RunRecord]
) -> Sample | None:
    """A trained run, of the default cell if there is one."""
    for cell in sorted(record.cells, key=lambda cell: cell.label != record.default):
        for name in cell.runs.values():
            if runs[name].train_s is not None:
                split = split_of(request.out, record, name, request.data)
                return Sample(cell, recipe_of(request.out, name), split)
    return None


def _drawn(
    request: Request,
    record: AblationRecord,
    runs: Mapping[str, RunRecord],
    plan: Plan,
    progress: Progress,
) -> Drawn:
    """Every evaluation that is there, once; all that cannot be read in one error."""
    wanted = {
        (name, cell.key): run_folder(request.out, name) / EVALUATIONS / cell.key
        for cell in record.cells
        for name in cell.runs.values()
        if _is_scored(request.out, name, runs[name], cell.key)
    }
    measure = Measure(plan)
    found: dict[tuple[str, str], Mapping[str, Resampled]] = {}
    errors: list[MimdetError] = []
    with progress.items(len(wanted), "resampling evaluations") as done:
        for (name, key), folder in wanted.items():
            scored = runs[name].evaluations[key]
            try:
                split = split_of(request.out, record, name, request.data)
                recorded = {"box_ap": scored.box_ap, "mask_ap": scored.mask_ap}
                found[name, key] = measure.of(folder, split.annotations, recorded)
            except MimdetError as error:
                errors += [one for one in error.each() if str(one) not in map(str, errors)]
            done.advance()
    if errors:
        raise MimdetError.joined(errors)
    return found


def _figures(cell: CellRecord, runs: Mapping[str, RunRecord], drawn: Drawn) -> CellFigures:
    """What is known of a cell by seed."""
    scored = {seed: drawn[name, cell.key] for seed, name in cell.runs.items()
              if (name, cell.key) in drawn}  # fmt: skip
    ap = {kind: {seed: one[kind] for seed, one in scored.items() if kind in one} for kind in APS}
    costs: dict[str, dict[int, float]] = {}
    for seed, name in cell.runs.items():
        run = runs[name]
        evaluated = run.evaluations.get(cell.key)
        values = {
            "train_s": _whole_time(run, runs),
            "step_s": run.step_s,
            "peak_memory_gb": run.peak_memory_gb,
            "parameters": run.parameters,
            "gmacs": None if evaluated is None else evaluated.gmacs,
        }
        for kind, value in values.items():
            if value is not None:
                costs.setdefault(kind, {})[seed] = value
    return CellFigures({kind: by_seed for kind, by_seed in ap.items() if by_seed}, costs)


def _whole_time(run: RunRecord, runs: Mapping[str, RunRecord]) -> float | None:
    """Seconds of a training and of those that it goes on from."""
    before = 0.0 if run.parent is None else _whole_time(runs[run.parent], runs)
    return None if run.train_s is None or before is None else run.train_s + before


def _rows(
    record: AblationRecord,
    runs: Mapping[str, RunRecord],
    figures: Mapping[str, CellFigures],
    drawn: Drawn,
    plan: Plan,
) -> list[Row]:
    devices = {
        cell.label: {runs[name].device for name in cell.runs.values() if runs[name].device}
        for cell in record.cells
    }
    default = figures.get(record.default, CellFigures())
    published = paper_rows(record.ablation.paper, record.default)
    rows = []
    for cell in record.cells:
        own = figures[cell.label]
        alike = devices[cell.label] == devices.get(record.default)
        base = {} if cell.label == record.default else default.costs
        estimates = {kind: estimate(own.ap[kind]) for kind in APS if kind in own.ap}
        against = {
            kind: difference(own.ap[kind], default.ap.get(kind, {}), plan)
            for kind in estimates
            if cell.label != record.default
        }
        rows.append(
            Row(
                cell,
                tuple(seed for seed, name in cell.runs.items() if (name, cell.key) in drawn),
                tuple(cell.runs),
                own,
                {kind: one for kind, one in estimates.items() if one is not None},
                {kind: one for kind, one in against.items() if one is not None},
                {
                    kind: _cost(own.costs[kind], base.get(kind, {}), alike or kind not in MEASURED)
                    for kind in COSTS
                    if kind in own.costs
                },
                published.get(cell.label),
            )
        )
    return rows


def _cost(own: Mapping[int, float], default: Mapping[int, float], comparable: bool) -> Cost:
    spread = Spread.of(list(own.values()))
    base = statistics.fmean(default.values()) if default and comparable else 0.0
    return Cost(own, spread, spread.mean / base if base else None)


def _ordered(record: AblationRecord) -> list[str]:
    """Runs, all of a seed before the next."""
    return list(dict.fromkeys(cell.runs[seed] for seed in record.seeds for cell in record.cells))


def _state(out: Path, record: AblationRecord, name: str, run: RunRecord) -> RunState:
    cells = [cell for cell in record.cells if name in cell.runs.values()]
    training = cells[0].training
    seed = next(seed for seed, one in cells[0].runs.items() if one == name)
    keys = {cell.key for cell in cells}
    scored = sum(_is_scored(out, name, run, key) for key in keys)
    state, reason = "unfinished", f"trained, {scored} of {len(keys)} evaluations done"
    if run.train_s is not None and scored == len(keys):
        state, reason = "done", ""
    elif run.status == "failed":
        state, reason = "failed", run.reason or "no reason is recorded"
    elif run.train_s is None:
        begun = (run_folder(out, name) / "run").is_dir()
        reason = "its training has begun" if begun else "not begun"
    title = f"{training} seed {seed}"
    return RunState(name, title, training, seed, state, reason or None, run.device)


def _is_scored(out: Path, name: str, run: RunRecord, key: str) -> bool:
    return key in run.evaluations and (run_folder(out, name) / EVALUATIONS / key).is_dir()
