"""The report for people: one list of parts, laid out for a terminal and as Markdown.

Columns of the paper's figures begin with "paper"; no other column uses any of them. Markdown has
more columns, the command that runs the same again, and the plot.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mimdet_cli.ablation.definition import Request, shipped_ablations
from mimdet_cli.ablation.judge.claims import Verdict
from mimdet_cli.ablation.judge.statistics import Contrast, Estimate, Interval
from mimdet_cli.ablation.plan.identity import EMBEDDED
from mimdet_cli.ablation.report.paper import PaperRow
from mimdet_cli.ablation.report.summary import Summary, SummaryRow
from mimdet_cli.evaluation.metrics import (
    ACCURACIES,
    BEST,
    COSTS,
    NONE,
    Accuracy,
    CostMetric,
    Metric,
)
from mimdet_cli.recipe.catalog import shipped
from mimdet_cli.text_table import markdown_table, text_table
from mimdet_cli.words import counted


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of text."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, str]]) -> Self:
        """Rows that have the same columns."""
        return cls(list(rows[0]), [list(row.values()) for row in rows])


@dataclass(frozen=True, slots=True)
class JudgedClaims:
    """Claims with their verdicts: a table in Markdown, but too wide for one in a terminal."""

    verdicts: Sequence[Verdict]


Body = Table | JudgedClaims | Sequence[str]
"""A table, claims, or the items of a list."""


@dataclass(frozen=True, slots=True)
class Part:
    """A titled part of the report."""

    title: str
    body: Body


def text(summary: Summary) -> list[str]:
    """Lines for a terminal."""
    record = summary.record
    lines = [f"{record.name}: {record.ablation.question}", record.ablation.source, _state(summary)]
    for part in tables(summary, full=False):
        lines += ["", part.title, *_text_of(part.body)]
    lines += ["", *_legend(summary)]
    for part in _remarks(summary):
        lines += ["", part.title, *_text_of(part.body)]
    return lines


def markdown(summary: Summary, picture: str | None = None) -> str:
    """The report as a section of a Markdown file; `picture` is the path of the plot from there."""
    record = summary.record
    blocks = [
        f"## {record.name}",
        f"{record.ablation.question} ({record.ablation.source})",
        f"```bash\n{command(summary)}\n```",
        _state(summary),
        f"![{BEST.name} of {record.name}]({picture or f'{record.name}.png'})",
    ]
    for part in tables(summary, full=True):
        blocks += [f"**{part.title}**", _markdown_of(part.body)]
    blocks.append(" ".join(_legend(summary)))
    for part in _remarks(summary):
        blocks += [f"**{part.title}**", _markdown_of(part.body)]
    return "\n\n".join(blocks) + "\n"


def command(summary: Summary) -> str:
    """The command that runs the same again, apart from folders."""
    record, split = summary.record, summary.split
    base = None if record.base == record.own_base else record.base
    request = Request(
        record.name if record.name in shipped_ablations() else f"{record.name}.yaml",
        base if base is None or shipped(base) is None else Path(base).stem,
        None if record.data == EMBEDDED or split is None else Path(split.name),
        None if record.seeds == record.ablation.seeds else len(record.seeds),
        tuple(record.overrides),
        tuple(record.added),
    )
    return shlex.join(["mimdet", "ablate", *request.arguments()])


def _text_of(body: Body) -> list[str]:
    if isinstance(body, Table):
        return text_table(body.headers, body.rows, figures=True).split("\n")
    if isinstance(body, JudgedClaims):
        return [
            line
            for verdict in body.verdicts
            for line in (
                f"  {verdict.judgement:9s}  {verdict.claim.says}",
                f"             {verdict.numbers}",
            )
        ]
    return [f"  {item.replace('`', '')}" for item in body]


def _markdown_of(body: Body) -> str:
    if isinstance(body, Table):
        return markdown_table(body.headers, body.rows)
    if isinstance(body, JudgedClaims):
        rows = [
            (verdict.claim.says, f"**{verdict.judgement}**", verdict.numbers)
            for verdict in body.verdicts
        ]
        return markdown_table(("claim", "verdict", "numbers"), rows)
    return "\n".join(f"- {item}" for item in body)


def tables(summary: Summary, *, full: bool) -> Iterator[Part]:
    """A table of each accuracy and one of the costs that the ablation asks for."""
    for metric in ACCURACIES:
        if summary.shows(metric):
            title = metric.name[0].upper() + metric.name[1:]
            rows = [_ap_row(summary, row, metric, full) for row in summary.rows]
            yield Part(title, Table.of(rows))
    if any(summary.shows(metric) for metric in COSTS):
        yield Part("Cost", Table.of([_cost_row(summary, row) for row in summary.rows]))


def _remarks(summary: Summary) -> Iterator[Part]:
    """Claims, what differs from the paper, notes, and what is not in the tables."""
    if summary.verdicts:
        title = "Claims, judged by rules fixed before anything ran"
        yield Part(title, JudgedClaims(summary.verdicts))
    with_paper = summary.record.ablation.paper
    if summary.differs:
        title = "What differs from the paper" if with_paper else "How it was run"
        yield Part(title, summary.differs)
    if notes := summary.record.ablation.notes:
        yield Part("Notes", notes)
    if absent := _absent(summary):
        yield Part("Not in the tables", absent)


def _state(summary: Summary) -> str:
    done = len(summary.in_state("done"))
    sentence = f"{done} of {counted(len(summary.runs), 'run')} done"
    for state in ("failed", "unfinished"):
        if number := len(summary.in_state(state)):
            sentence += f", {number} {state}"
    return f"{sentence}."


def _absent(summary: Summary) -> list[str]:
    """Cells that are left out and runs that are not done, by reason."""
    names: dict[tuple[str, str | None], list[str]] = {}
    for label, reason in summary.record.left_out.items():
        names.setdefault(("left out", reason), []).append(label)
    for state in ("failed", "unfinished"):
        for run in summary.in_state(state):
            names.setdefault((state, run.reason), []).append(run.title)
    return [f"{what}, {why}: {'; '.join(named)}" for (what, why), named in names.items()]


def _legend(summary: Summary) -> list[str]:
    """What the columns mean."""
    lines = _legend_of_accuracies(summary)
    if any(summary.shows(metric) for metric in COSTS):
        lines.append(
            "Costs are means over seeds, with the ratio to the default cell's; training time "
            "includes the trainings that a cell starts from."
        )
    if any(row.paper is not None for row in summary.rows):
        lines.append(
            "The paper's columns compare its figures with its own default cell; hours on "
            "different GPUs are not compared, nor are the paper's figures with ours."
        )
    return lines


def _legend_of_accuracies(summary: Summary) -> list[str]:
    default = summary.record.default
    shown = [metric for metric in ACCURACIES if summary.shows(metric)]
    plain = [metric for metric in shown if not metric.resampled]
    lines = ["Mean, median and range are over seeds."]
    paired = f"Differences are to the default cell, {default}"
    if plain != shown or not shown:
        lines = [
            "Mean, median and range are over seeds; the 95 % interval of the mean is over "
            f"{summary.resampling.resamples:,} resamples of the images."
        ]
        paired += (
            ", paired by seed and image; their interval and p cover images and seeds, or the "
            "images alone if there is one seed"
        )
    if any(row.differences for row in summary.rows):
        lines.append(f"{paired}.")
    elif len(summary.rows) > 1:
        lines.append(f"No differences yet: the default cell, {default}, has not been scored.")
    if plain:
        lines.append(
            f"The images are not resampled for {', '.join(metric.name for metric in plain)}: the "
            "range is over seeds, and that of a difference over all pairs of the cells' seeds; "
            '"-" means undefined, or not recorded when the run was scored.'
        )
    return lines


def _ap_row(summary: Summary, row: SummaryRow, metric: Accuracy, full: bool) -> dict[str, str]:
    default = row.cell.label == summary.record.default
    columns = {"cell": row.cell.label, "seeds": f"{len(row.seeds)} of {len(row.wanted)}"}
    columns |= _estimate(row.estimates.get(metric.key), metric, full)
    columns |= _difference(row.differences.get(metric.key), metric, full, default)
    return columns | (_paper_ap(row.paper, metric, default) if _has_paper(summary, metric) else {})


def _estimate(found: Estimate | None, metric: Accuracy, full: bool) -> dict[str, str]:
    columns = dict.fromkeys(("mean", "median", "range"), NONE)
    columns |= {"deviation": NONE} if full else {}
    columns |= {"95 % interval": NONE} if metric.resampled else {}
    if found is None:
        return columns
    spread = found.spread
    columns |= {"mean": metric.text(spread.mean), "median": metric.text(spread.median)}
    if spread.deviation is not None:
        columns["range"] = f"{metric.text(spread.lowest)} to {metric.text(spread.highest)}"
        columns |= {"deviation": f"{spread.deviation:.2f}"} if full else {}
    return columns | ({"95 % interval": _ends(found.interval, metric)} if metric.resampled else {})


def _difference(
    found: Contrast | None, metric: Accuracy, full: bool, default: bool
) -> dict[str, str]:
    mean = "default" if default else NONE
    if found is not None:
        mean = metric.text(found.mean, "+z")
    if not metric.resampled:
        ends = None if found is None or found.seeds == 1 else found.interval
        return {"difference": mean, "its range": _ends(ends, metric, "+")}
    columns = {
        "difference": mean,
        "its interval": _ends(None if found is None else found.interval, metric, "+"),
        "p": NONE if found is None or found.p is None else f"{found.p:.3f}",
    }
    images = None if found is None else found.over_images
    return columns | ({"over images alone": _ends(images, metric, "+")} if full else {})


def _paper_ap(paper: PaperRow | None, metric: Accuracy, default: bool) -> dict[str, str]:
    if paper is None or metric.key not in paper.values:
        return {"paper": NONE, "paper difference": NONE}
    relative = paper.relative.get(metric.key)
    difference = "default" if default else NONE
    if relative is not None:
        difference = metric.text(relative, "+z")
    return {"paper": metric.paper.text(paper.values[metric.key]), "paper difference": difference}


def _cost_row(summary: Summary, row: SummaryRow) -> dict[str, str]:
    shown = [metric for metric in COSTS if summary.shows(metric)]
    columns = {"cell": row.cell.label}
    columns |= {metric.name: _cost(row, metric) for metric in shown}
    return columns | {
        f"paper {metric.name}": _paper_cost(row.paper, metric)
        for metric in shown
        if _has_paper(summary, metric)
    }


def _cost(row: SummaryRow, metric: CostMetric) -> str:
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


def _ends(interval: Interval | None, metric: Accuracy, sign: str = "") -> str:
    if interval is None:
        return NONE
    return f"[{metric.text(interval.low, sign + 'z')}, {metric.text(interval.high, sign + 'z')}]"


def _has_paper(summary: Summary, metric: Metric) -> bool:
    return any(row.paper is not None and metric.key in row.paper.values for row in summary.rows)
