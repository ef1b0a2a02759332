"""An ablation's folder -> one record of rows, from which every form of the report is written.

Our figures and the published ones are kept apart: `SummaryRow.paper` comes from the ablation's
file, everything else of a row from the folder, and nothing is computed from both.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mimdet_cli.ablation.definition import Request
from mimdet_cli.ablation.folder import (
    EVALUATIONS,
    AblationRecord,
    CellRecord,
    RunRecord,
    is_scored,
    read_plan,
    read_runs,
    refuse_another,
    run_folder,
)
from mimdet_cli.ablation.judge.claims import Verdict, judge
from mimdet_cli.ablation.judge.resampling import (
    ScoredSplit,
    TruthReader,
    recipe_of,
    resample,
    split_of,
)
from mimdet_cli.ablation.judge.statistics import (
    CellFigures,
    Contrast,
    Estimate,
    Resampled,
    Resampling,
    Spread,
    contrast,
    estimate,
)
from mimdet_cli.ablation.report.paper import PaperRow, TypicalRun, deviations, paper_rows
from mimdet_cli.errors import MimdetError
from mimdet_cli.evaluation.metrics import ACCURACIES, COSTS, Accuracy, CostMetric, Metric
from mimdet_cli.progress import Progress

ByEvaluation = Mapping[tuple[str, str], Mapping[str, Resampled]]
"""Resampled accuracies by run and evaluation."""
RESAMPLED: Final = tuple(metric.key for metric in ACCURACIES if metric.resampled)
NOT_RESAMPLED: Final = tuple(metric for metric in ACCURACIES if not metric.resampled)


@dataclass(frozen=True, slots=True)
class CellCost:
    """A cost by seed, its spread, and the ratio of its mean to the default cell's.

    `relative` is None for the default cell, and if that has none or ran on another device.
    """

    by_seed: Mapping[int, float]
    spread: Spread
    relative: float | None


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A cell: `seeds` are those that have been scored, `wanted` all of them.

    `estimates` and `differences` (to the default cell) of accuracies, and `costs`, are by metric
    key; unknown ones are absent.
    """

    cell: CellRecord
    seeds: tuple[int, ...]
    wanted: tuple[int, ...]
    figures: CellFigures
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Contrast]
    costs: Mapping[str, CellCost]
    paper: PaperRow | None


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run: "done", "failed" or "unfinished", and why it is not done."""

    name: str
    title: str
    training: str
    seed: int
    state: str
    reason: str | None
    device: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a report says."""

    record: AblationRecord
    resampling: Resampling
    split: ScoredSplit | None
    rows: Sequence[SummaryRow]
    runs: Sequence[RunState]
    verdicts: Sequence[Verdict]
    differs: Sequence[str]

    @property
    def devices(self) -> list[str]:
        """The devices that the runs ran on."""
        return list(dict.fromkeys(run.device for run in self.runs if run.device))

    def shows(self, metric: Metric) -> bool:
        """Whether the ablation asks for a metric."""
        return metric.key in self.record.ablation.metrics

    @property
    def accuracies(self) -> list[Accuracy]:
        """The accuracies in files: those that are resampled, and those asked for."""
        return [metric for metric in ACCURACIES if metric.resampled or self.shows(metric)]

    def in_state(self, state: str) -> list[RunState]:
        """The runs in a state."""
        return [run for run in self.runs if run.state == state]


def summarise(
    request: Request, progress: Progress, resampling: Resampling | None = None
) -> Summary:
    """What the folder of the request holds, finished or not; nothing is run."""
    resampling = resampling or Resampling()
    out, name = request.out, Path(request.name).stem
    record = read_plan(out, name)
    refuse_another(record, request)
    runs = read_runs(out, record)
    resampled = _resample_all(request, record, runs, resampling, progress)
    figures = {cell.label: _figures(cell, runs, resampled) for cell in record.cells}
    rows = _rows(record, runs, figures, resampled, resampling)
    table = {label: figure for label, figure in figures.items() if figure.resampled or figure.plain}
    typical = _typical_run(request, record, runs)
    return Summary(
        record,
        resampling,
        None if typical is None else typical.split,
        rows,
        [_state(out, record, name, runs[name]) for name in _ordered(record)],
        [judge(claim, table, resampling) for claim in record.ablation.claims],
        deviations(record, typical, runs),
    )


def _typical_run(
    request: Request, record: AblationRecord, runs: Mapping[str, RunRecord]
) -> TypicalRun | None:
    """A trained run, of the default cell if possible."""
    for cell in sorted(record.cells, key=lambda cell: cell.label != record.default):
        for name in cell.runs.values():
            if runs[name].is_trained:
                split = split_of(request.out, record, name, request.data)
                return TypicalRun(cell, recipe_of(request.out, name), split)
    return None


def _resample_all(
    request: Request,
    record: AblationRecord,
    runs: Mapping[str, RunRecord],
    resampling: Resampling,
    progress: Progress,
) -> ByEvaluation:
    """Resample every evaluation once; all that cannot be read are in one error."""
    wanted = {
        (name, cell.key): run_folder(request.out, name) / EVALUATIONS / cell.key
        for cell in record.cells
        for name in cell.runs.values()
        if is_scored(run_folder(request.out, name), runs[name].evaluations, cell.key)
    }
    found: dict[tuple[str, str], Mapping[str, Resampled]] = {}
    errors: list[MimdetError] = []
    reader = TruthReader()
    with progress.items(len(wanted), "resampling evaluations") as done:
        for (name, key), folder in wanted.items():
            scored = runs[name].evaluations[key]
            try:
                split = split_of(request.out, record, name, request.data)
                recorded = {metric: scored.figures.get(metric) for metric in RESAMPLED}
                found[name, key] = resample(folder, split.annotations, reader, recorded, resampling)
            except MimdetError as error:
                errors += [
                    mistake for mistake in error.each() if str(mistake) not in map(str, errors)
                ]
            done.advance()
    if errors:
        raise MimdetError.joined(errors)
    return found


def _figures(
    cell: CellRecord, runs: Mapping[str, RunRecord], resampled: ByEvaluation
) -> CellFigures:
    """The figures of a cell by seed."""
    by_metric: dict[str, dict[int, Resampled]] = {}
    plain: dict[str, dict[int, float]] = {}
    for seed, name in cell.runs.items():
        scored = resampled.get((name, cell.key))
        for key, figure in (scored or {}).items():
            by_metric.setdefault(key, {})[seed] = figure
        accuracies = () if scored is None else NOT_RESAMPLED
        for metric in (*accuracies, *COSTS):
            value = _recorded(metric, runs[name], cell.key, runs)
            if value is not None:
                plain.setdefault(metric.key, {})[seed] = value
    return CellFigures(by_metric, plain)


def _recorded(
    metric: Metric, run: RunRecord, evaluation: str, runs: Mapping[str, RunRecord]
) -> float | None:
    """A figure of a run; costs that add up include the runs that it starts from."""
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
    resampled: ByEvaluation,
    resampling: Resampling,
) -> list[SummaryRow]:
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
        estimates = {metric.key: estimate(own, metric) for metric in ACCURACIES}
        terms = [(1, own), (-1, base)]
        against = {metric.key: contrast(terms, metric, resampling) for metric in ACCURACIES}
        rows.append(
            SummaryRow(
                cell,
                tuple(seed for seed, name in cell.runs.items() if (name, cell.key) in resampled),
                tuple(cell.runs),
                own,
                {key: found for key, found in estimates.items() if found is not None},
                {key: found for key, found in against.items() if found is not None},
                {
                    metric.key: _cost(
                        own.values(metric), base.values(metric), alike or metric.exact
                    )
                    for metric in COSTS
                    if own.values(metric)
                },
                published.get(cell.label),
            )
        )
    return rows


def _cost(own: Mapping[int, float], default: Mapping[int, float], comparable: bool) -> CellCost:
    spread = Spread.of(list(own.values()))
    base = statistics.fmean(default.values()) if default and comparable else 0.0
    return CellCost(own, spread, spread.mean / base if base else None)


def _ordered(record: AblationRecord) -> list[str]:
    """The hashes of all runs, seed by seed."""
    return list(dict.fromkeys(cell.runs[seed] for seed in record.seeds for cell in record.cells))


def _state(out: Path, record: AblationRecord, name: str, run: RunRecord) -> RunState:
    cells = [cell for cell in record.cells if name in cell.runs.values()]
    training = cells[0].training
    seed = next(seed for seed, run_name in cells[0].runs.items() if run_name == name)
    keys = {cell.key for cell in cells}
    scored = sum(is_scored(run_folder(out, name), run.evaluations, key) for key in keys)
    state, reason = "unfinished", f"trained, {scored} of {len(keys)} evaluations done"
    if run.is_trained and scored == len(keys):
        state, reason = "done", ""
    elif run.status == "failed":
        state, reason = "failed", run.reason or "no reason is recorded"
    elif not run.is_trained:
        started = (run_folder(out, name) / "run").is_dir()
        reason = "training has started" if started else "not started"
    title = f"{training} seed {seed}"
    return RunState(name, title, training, seed, state, reason or None, run.device)
