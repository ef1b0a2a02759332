"""The tables of a report as headings and rows of text, and the sentences around them.

Columns of the paper's figures begin with "paper"; no other column has anything of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mimdet_cli.ablation.judge.statistics import Interval, Spread
from mimdet_cli.ablation.report.published import PaperRow
from mimdet_cli.ablation.report.summary import Row, Summary
from mimdet_cli.evaluation.metrics import ACCURACIES, COSTS, NONE, Accuracy, CostMetric, Metric
from mimdet_cli.words import counted


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its title; every cell is text."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def ap_tables(summary: Summary, *, full: bool) -> list[Table]:
    """A table of each accuracy that is asked for."""
    return [_ap_table(summary, metric, full) for metric in ACCURACIES if summary.shows(metric)]


def cost_table(summary: Summary) -> Table | None:
    """What the cells cost, and by how much more or less than the default; None if not asked for."""
    shown = [metric for metric in COSTS if summary.shows(metric)]
    if not shown:
        return None
    published = [metric for metric in shown if _has_paper(summary, metric)]
    headers = ["cell", *(metric.name for metric in shown)]
    headers += [f"paper {metric.name}" for metric in published]
    rows = [
        [
            row.cell.label,
            *(_cost(row, metric) for metric in shown),
            *(_paper_cost(row.paper, metric) for metric in published),
        ]
        for row in summary.rows
    ]
    return Table("Cost", headers, rows)


def claim_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Claim, verdict and numbers."""
    return [(one.claim.says, one.judgement, one.numbers) for one in summary.verdicts]


def state(summary: Summary) -> str:
    """How many runs are done, in a sentence."""
    done = len(summary.in_state("done"))
    told = f"{done} of {counted(len(summary.runs), 'run')} done"
    for name in ("failed", "unfinished"):
        if number := len(summary.in_state(name)):
            told += f", {number} {name}"
    return f"{told}."


def absent(summary: Summary) -> list[str]:
    """Cells that are left out and runs that are not done, each with the reason."""
    told: dict[tuple[str, str | None], list[str]] = {}
    for label, reason in summary.record.left_out.items():
        told.setdefault(("left out", reason), []).append(label)
    for state_name in ("failed", "unfinished"):
        for run in summary.in_state(state_name):
            told.setdefault((state_name, run.reason), []).append(run.title)
    return [f"{what}, {why}: {'; '.join(names)}" for (what, why), names in told.items()]


def legend(summary: Summary) -> list[str]:
    """What the columns mean."""
    lines = _legend_of_accuracies(summary)
    if any(summary.shows(metric) for metric in COSTS):
        lines.append(
            "Costs are means over the seeds, with the multiple of the default cell's; the time of "
            "a training counts those that it goes on from."
        )
    if any(row.paper is not None for row in summary.rows):
        lines.append(
            "The paper's columns relate its figures to its own default cell; hours of different "
            "GPUs are not related, nor are the paper's to ours."
        )
    return lines


def _legend_of_accuracies(summary: Summary) -> list[str]:
    default = summary.record.default
    shown = [one for one in ACCURACIES if summary.shows(one)]
    plain = [one for one in shown if not one.resampled]
    spread, paired = "Mean, median and range are over the seeds", "Differences are to the default"
    if plain == shown != []:
        lines = [f"{spread}."]
        paired += f" cell, {default}."
    else:
        lines = [
            f"{spread}; the interval is where 95 % of the means lie if the images are resampled "
            f"({summary.plan.resamples:,} times)."
        ]
        paired += (
            f" cell, {default}, paired by seed and image; their interval and p cover images and "
            "seeds, or the images alone where there is one seed."
        )
    if any(row.differences for row in summary.rows):
        lines.append(paired)
    elif len(summary.rows) > 1:
        lines.append(f"No differences yet: the default cell, {default}, is not scored.")
    if plain:
        lines.append(
            f"The images are not resampled for {', '.join(one.name for one in plain)}: the range "
            "is over the seeds, that of a difference over all pairs of a seed of each cell; "
            '"-" is undefined, or was not recorded when the run was scored.'
        )
    return lines


def _ap_table(summary: Summary, metric: Accuracy, full: bool) -> Table:
    headers = ["cell", "seeds", "mean", "median", "range"]
    headers += ["deviation"] if full else []
    headers += ["95 % interval"] if metric.resampled else []
    headers += ["difference", "its interval" if metric.resampled else "its range"]
    headers += ["p"] if metric.resampled else []
    headers += ["over images alone"] if metric.resampled and full else []
    with_paper = _has_paper(summary, metric)
    headers += ["paper", "paper difference"] if with_paper else []
    rows = []
    for row in summary.rows:
        cells = [row.cell.label, f"{len(row.seeds)} of {len(row.wanted)}"]
        cells += _estimate(row, metric, full) + _difference(summary, row, metric, full)
        cells += _paper_ap(summary, row, metric) if with_paper else []
        rows.append(cells)
    return Table(metric.name, headers, rows)


def _estimate(row: Row, metric: Accuracy, full: bool) -> list[str]:
    found = row.estimates.get(metric.key)
    spread = None if found is None else found.spread
    told = _spread(spread, metric)
    if full:
        deviation = None if spread is None else spread.deviation
        told.append(NONE if deviation is None else f"{deviation:.2f}")
    if metric.resampled:
        told.append(_interval(None if found is None else found.interval, metric))
    return told


def _spread(spread: Spread | None, metric: Accuracy) -> list[str]:
    if spread is None:
        return [NONE, NONE, NONE]
    ends = f"{metric.text(spread.lowest)} to {metric.text(spread.highest)}"
    middle = [metric.text(spread.mean), metric.text(spread.median)]
    return [*middle, ends if len(spread.values) > 1 else NONE]


def _difference(summary: Summary, row: Row, metric: Accuracy, full: bool) -> list[str]:
    found = row.differences.get(metric.key)
    if found is None:
        first = "default" if row.cell.label == summary.record.default else NONE
        return [first, NONE, *([NONE] * (1 + full) if metric.resampled else [])]
    told = [metric.text(found.mean, "+z")]
    if not metric.resampled:
        return [*told, _interval(found.interval if found.seeds > 1 else None, metric, "+")]
    told += [_interval(found.interval, metric, "+"), NONE if found.p is None else f"{found.p:.3f}"]
    return [*told, _interval(found.over_images, metric, "+")] if full else told


def _paper_ap(summary: Summary, row: Row, metric: Accuracy) -> list[str]:
    if row.paper is None or metric.key not in row.paper.values:
        return [NONE, NONE]
    first = "default" if row.cell.label == summary.record.default else NONE
    relative = row.paper.relative.get(metric.key)
    shown = metric.paper.text(row.paper.values[metric.key])
    return [shown, first if relative is None else metric.text(relative, "+z")]


def _cost(row: Row, metric: CostMetric) -> str:
    found = row.costs.get(metric.key)
    if found is None:
        return NONE
    shown = metric.shown(found.spread.mean)
    return shown if found.relative is None else f"{shown} ({found.relative:.2f}x)"


def _paper_cost(paper: PaperRow | None, metric: CostMetric) -> str:
    if paper is None or metric.key not in paper.values:
        return NONE
    shown = metric.paper.text(paper.values[metric.key])
    if metric.paper.on_gpu:
        shown += f" on {paper.gpu}" if paper.gpu else ""
        shown += f" ({paper.apart})" if paper.apart else ""
    relative = paper.relative.get(metric.key)
    return shown if relative is None else f"{shown} ({relative:.2f}x)"


def _interval(interval: Interval | None, metric: Accuracy, sign: str = "") -> str:
    if interval is None:
        return NONE
    return f"[{metric.text(interval.low, sign + 'z')}, {metric.text(interval.high, sign + 'z')}]"


def _has_paper(summary: Summary, metric: Metric) -> bool:
    return any(row.paper is not None and metric.key in row.paper.values for row in summary.rows)
