"""An ablation's folder -> one record of rows, from which every form of the report is written.

Our figures and the published ones are kept apart from the start: `Row.paper` comes from the
ablation's file, all else of a row from the folder, and nothing is computed from both.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimdet_cli.ablation.folder import (
    AblationRecord,
    CellRecord,
    RunRecord,
    read_ablation,
    read_runs,
    refuse_another,
)
from mimdet_cli.ablation.judge.claims import CellFigures, Verdict, judge
from mimdet_cli.ablation.judge.resampling import Measure
from mimdet_cli.ablation.judge.splits import recipe_of, split_of
from mimdet_cli.ablation.judge.statistics import (
    Difference,
    Estimate,
    Plan,
    Resampled,
    Spread,
    difference,
    estimate,
    range_contrast,
)
from mimdet_cli.ablation.layout import EVALUATIONS, RECORDS, run_folder
from mimdet_cli.ablation.report.paper import Sample, Split, differences
from mimdet_cli.ablation.report.published import PaperRow, paper_rows
from mimdet_cli.ablation.request import Request
from mimdet_cli.errors import MimdetError
from mimdet_cli.evaluation.metrics import ACCURACIES, COSTS, Accuracy, CostMetric, Metric
from mimdet_cli.progress import Progress

Drawn = Mapping[tuple[str, str], Mapping[str, Resampled]]
"""Resampled accuracies by run and evaluation."""
NOT_RESAMPLED: Final = tuple(one for one in ACCURACIES if not one.resampled)


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

    `estimates` and `differences` (to the default cell) of accuracies, and `costs`, are by the keys
    of the metrics; what is not known is absent.
    """

    cell: CellRecord
    seeds: tuple[int, ...]
    wanted: tuple[int, ...]
    figures: CellFigures
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Difference]
    costs: Mapping[str, Cost]
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
        return metric.key in self.record.ablation.metrics

    @property
    def accuracies(self) -> list[Accuracy]:
        """What the files of a report hold: what is resampled, and what is asked for."""
        return [one for one in ACCURACIES if one.resampled or self.shows(one)]

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
    table = {label: one for label, one in figures.items() if one.resampled or one.plain}
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
            if runs[name].is_trained:
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
                keys = [one.key for one in ACCURACIES if one.resampled]
                recorded = {key: scored.figures.get(key) for key in keys}
                found[name, key] = measure.of(folder, split.annotations, recorded)
            except MimdetError as error:
                errors += [one for one in error.each() if str(one) not in map(str, errors)]
            done.advance()
    if errors:
        raise MimdetError.joined(errors)
    return found


def _figures(cell: CellRecord, runs: Mapping[str, RunRecord], drawn: Drawn) -> CellFigures:
    """What is known of a cell by seed."""
    resampled: dict[str, dict[int, Resampled]] = {}
    plain: dict[str, dict[int, float]] = {}
    for seed, name in cell.runs.items():
        scored = drawn.get((name, cell.key))
        for key, one in (scored or {}).items():
            resampled.setdefault(key, {})[seed] = one
        accuracies = () if scored is None else NOT_RESAMPLED
        for metric in (*accuracies, *COSTS):
            value = _recorded(metric, runs[name], cell.key, runs)
            if value is not None:
                plain.setdefault(metric.key, {})[seed] = value
    return CellFigures(resampled, plain)


def _recorded(
    metric: Metric, run: RunRecord, evaluation: str, runs: Mapping[str, RunRecord]
) -> float | None:
    """A figure of a run by its record; with those of the runs that it goes on from."""
    if not isinstance(metric, CostMetric) or metric.per_evaluation:
        evaluated = run.evaluations.get(evaluation)
        return None if evaluated is None else evaluated.figures.get(metric.key)
    own = run.costs.get(metric.key)
    if own is None or run.parent is None or not metric.adds_up:
        return own
    before = _recorded(metric, runs[run.parent], evaluation, runs)
    return None if before is None else own + before


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
        base = CellFigures() if cell.label == record.default else default
        estimates = {one.key: _estimate(own, one) for one in ACCURACIES}
        against = {one.key: _difference(own, base, one, plan) for one in ACCURACIES}
        rows.append(
            Row(
                cell,
                tuple(seed for seed, name in cell.runs.items() if (name, cell.key) in drawn),
                tuple(cell.runs),
                own,
                {key: one for key, one in estimates.items() if one is not None},
                {key: one for key, one in against.items() if one is not None},
                {
                    one.key: _cost(own.values(one), base.values(one), alike or one.exact)
                    for one in COSTS
                    if own.values(one)
                },
                published.get(cell.label),
            )
        )
    return rows


def _estimate(own: CellFigures, metric: Accuracy) -> Estimate | None:
    if metric.resampled:
        return estimate(own.resampled.get(metric.key, {}))
    values = list(own.values(metric).values())
    return Estimate(Spread.of(values), None) if values else None


def _difference(
    own: CellFigures, default: CellFigures, metric: Accuracy, plan: Plan
) -> Difference | None:
    if metric.resampled:
        of_default = default.resampled.get(metric.key, {})
        return difference(own.resampled.get(metric.key, {}), of_default, plan)
    values = [list(one.values(metric).values()) for one in (own, default)]
    return range_contrast(list(zip((1, -1), values, strict=True))) if all(values) else None


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
    if run.is_trained and scored == len(keys):
        state, reason = "done", ""
    elif run.status == "failed":
        state, reason = "failed", run.reason or "no reason is recorded"
    elif not run.is_trained:
        begun = (run_folder(out, name) / "run").is_dir()
        reason = "its training has begun" if begun else "not begun"
    title = f"{training} seed {seed}"
    return RunState(name, title, training, seed, state, reason or None, run.device)


def _is_scored(out: Path, name: str, run: RunRecord, key: str) -> bool:
    return key in run.evaluations and (run_folder(out, name) / EVALUATIONS / key).is_dir()
