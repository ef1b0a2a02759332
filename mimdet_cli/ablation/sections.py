"""The tables of a report as headings and rows of text, and the sentences around them.

Columns of the paper's figures begin with "paper"; no other column has anything of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mimdet_cli.ablation.claims import NAMES
from mimdet_cli.ablation.published import PaperRow
from mimdet_cli.ablation.schema import Metric
from mimdet_cli.ablation.statistics import Interval
from mimdet_cli.ablation.summary import APS, COSTS, Row, Summary
from mimdet_cli.words import counted

NONE: Final = "-"
HOUR: Final = 3600
SHOWN_IN_HOURS: Final = 2 * HOUR
SHOWN_WHOLE: Final = 10


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its title; every cell is text."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def ap_tables(summary: Summary, *, full: bool) -> list[Table]:
    """A table of box AP and one of mask AP, those that are asked for."""
    return [_ap_table(summary, metric, full) for metric in APS if summary.shows(metric)]


def cost_table(summary: Summary) -> Table | None:
    """What the cells cost, and by how much more or less than the default; None if not asked for."""
    shown = [metric for metric in COSTS if summary.shows(metric)]
    if not shown:
        return None
    published = [
        metric for metric in shown if any(metric in paper.values for paper in _papers(summary))
    ]
    headers = ["cell", *(NAMES[metric] for metric in shown)]
    headers += [f"paper {NAMES[metric]}" for metric in published]
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
    record = summary.record
    lines = [
        "Mean, median and range are over the seeds; the interval is where 95 % of the means lie if "
        f"the images are resampled ({summary.plan.resamples:,} times).",
    ]
    if any(row.differences for row in summary.rows):
        lines.append(
            f"Differences are to the default cell, {record.default}, paired by seed and image; "
            "their interval and p cover images and seeds, or the images alone where there is one "
            "seed."
        )
    elif len(summary.rows) > 1:
        lines.append(f"No differences yet: the default cell, {record.default}, is not scored.")
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


def _ap_table(summary: Summary, metric: Metric, full: bool) -> Table:
    headers = ["cell", "seeds", "mean", "median", "range"]
    headers += ["deviation"] if full else []
    headers += ["95 % interval", "difference", "its interval", "p"]
    headers += ["over images alone"] if full else []
    with_paper = any(metric in paper.values for paper in _papers(summary))
    headers += ["paper", "paper difference"] if with_paper else []
    rows = []
    for row in summary.rows:
        cells = [row.cell.label, f"{len(row.seeds)} of {len(row.wanted)}"]
        cells += _estimate(row, metric, full) + _difference(summary, row, metric, full)
        cells += _paper_ap(summary, row, metric) if with_paper else []
        rows.append(cells)
    return Table(NAMES[metric], headers, rows)


def _estimate(row: Row, metric: Metric, full: bool) -> list[str]:
    found = row.estimates.get(metric)
    if found is None:
        return [NONE] * (5 if full else 4)
    spread = found.spread
    deviation = NONE if spread.deviation is None else f"{spread.deviation:.2f}"
    return [
        f"{spread.mean:.1f}",
        f"{spread.median:.1f}",
        f"{spread.lowest:.1f} to {spread.highest:.1f}" if len(spread.values) > 1 else NONE,
        *([deviation] if full else []),
        _interval(found.interval),
    ]


def _difference(summary: Summary, row: Row, metric: Metric, full: bool) -> list[str]:
    found = row.differences.get(metric)
    if found is None:
        first = "default" if row.cell.label == summary.record.default else NONE
        return [first, *([NONE] * (3 if full else 2))]
    told = [f"{found.mean:+z.1f}", _interval(found.interval, sign=True)]
    told.append(NONE if found.p is None else f"{found.p:.3f}")
    if full:
        images = found.over_images
        told.append(NONE if images is None else _interval(images, sign=True))
    return told


def _paper_ap(summary: Summary, row: Row, metric: Metric) -> list[str]:
    if row.paper is None or metric not in row.paper.values:
        return [NONE, NONE]
    first = "default" if row.cell.label == summary.record.default else NONE
    relative = row.paper.relative.get(metric)
    return [f"{row.paper.values[metric]:.1f}", first if relative is None else f"{relative:+z.1f}"]


def _cost(row: Row, metric: Metric) -> str:
    found = row.costs.get(metric)
    if found is None:
        return NONE
    shown = _SHOWN[metric](found.spread.mean)
    return shown if found.relative is None else f"{shown} ({found.relative:.2f}x)"


def _paper_cost(paper: PaperRow | None, metric: Metric) -> str:
    if paper is None or metric not in paper.values:
        return NONE
    shown = _PAPER_SHOWN[metric](paper.values[metric])
    if metric == "train_s":
        shown += f" on {paper.gpu}" if paper.gpu else ""
        shown += f" ({paper.apart})" if paper.apart else ""
    relative = paper.relative.get(metric)
    return shown if relative is None else f"{shown} ({relative:.2f}x)"


def _duration(seconds: float) -> str:
    if seconds >= SHOWN_IN_HOURS:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds:.0f} s" if seconds >= SHOWN_WHOLE else f"{seconds:.2f} s"


def _interval(interval: Interval, *, sign: bool = False) -> str:
    form = "+z.1f" if sign else "z.1f"
    return f"[{interval.low:{form}}, {interval.high:{form}}]"


def _papers(summary: Summary) -> list[PaperRow]:
    return [row.paper for row in summary.rows if row.paper is not None]


_SHOWN: Final[Mapping[Metric, Callable[[float], str]]] = {
    "train_s": _duration,
    "step_s": lambda value: f"{value:.3f} s",
    "peak_memory_gb": lambda value: f"{value:.2f} GB",
    "parameters": lambda value: f"{value / 1e6:.2f} M",
    "gmacs": lambda value: f"{value:,.1f}",
}
_PAPER_SHOWN: Final[Mapping[Metric, Callable[[float], str]]] = {
    "train_s": lambda value: f"{value:.1f} h",
    "step_s": lambda value: f"{value:.3f} s",
    "peak_memory_gb": lambda value: f"{value:.1f} GB",
    "parameters": lambda value: f"{value:.1f} M",
    "gmacs": lambda value: f"{value:,.1f}",
}
