"""A report as JSON and CSV, complete.

JSON: `cells` hold, by metric, our figures (`ap`: by seed, mean, median, lowest, highest, deviation,
`interval` of the mean over images, `difference` to the default cell with its `interval`, `p`, what
those cover, and the interval over images alone, as far as images are resampled; `costs`: by seed,
mean, median, lowest, highest, and the multiple of the default cell's, `relative`) apart from the
published ones (`paper`: figures in the paper's units, `relative` to the paper's own default cell:
points for AP, multiples else); `claims` the rules, verdicts and numbers; `runs` how far each run
is; `differs` the sentences on what sets the runs apart from the paper's. AP is in points of 100,
times in seconds, memory in GB, `gmacs` in 10^9; null is not known.

CSV: a row for each cell with the same figures; the names of the paper's columns begin with
`paper_`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mimdet_cli.ablation.judge.statistics import Difference, Estimate, Interval
from mimdet_cli.ablation.report.published import PaperRow
from mimdet_cli.ablation.report.summary import Cost, Row, Summary
from mimdet_cli.evaluation.metrics import COSTS, METRICS, Accuracy

DIGITS = 6


def to_json(summary: Summary, command: str) -> dict[str, Any]:
    """The whole report as a record; `command` runs the same again."""
    record, split = summary.record, summary.split
    states = ("done", "failed", "unfinished")
    return {
        "name": record.name,
        "question": record.ablation.question,
        "source": record.ablation.source,
        "command": command,
        "base": record.base,
        "own_base": record.own_base,
        "small": record.small,
        "overrides": list(record.overrides),
        "data": {
            "identity": record.data,
            "name": None if split is None else split.name,
            "images": None if split is None else split.images,
            "classes": None if split is None else split.classes,
        },
        "default": record.default,
        "metrics": list(record.ablation.metrics),
        "resamples": summary.plan.resamples,
        "state": {one: len(summary.in_state(one)) for one in states},
        "cells": [_cell(row, summary.accuracies) for row in summary.rows],
        "claims": [
            {**one.claim.model_dump(mode="json"), "verdict": one.judgement, "numbers": one.numbers}
            for one in summary.verdicts
        ],
        "differs": list(summary.differs),
        "devices": summary.devices,
        "left_out": dict(record.left_out),
        "runs": [asdict(run) for run in summary.runs],
        "notes": list(record.ablation.notes),
    }


def to_csv(summary: Summary) -> str:
    """A row for each cell, under a heading."""
    rows = [_flat(row, summary.accuracies) for row in summary.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cell(row: Row, accuracies: Sequence[Accuracy]) -> dict[str, Any]:
    cell = row.cell
    return {
        "label": cell.label,
        "training": cell.training,
        "evaluation": cell.evaluation or None,
        "settings": dict(cell.settings),
        "evals": cell.evals,
        "seeds": list(row.seeds),
        "seeds_wanted": list(row.wanted),
        "ap": {metric.key: _ap(row, metric) for metric in accuracies},
        "costs": {metric.key: _cost(row.costs.get(metric.key)) for metric in COSTS},
        "paper": None if row.paper is None else _paper(row.paper),
    }


def _ap(row: Row, metric: Accuracy) -> dict[str, Any] | None:
    found = row.estimates.get(metric.key)
    if found is None:
        return None
    return {
        "by_seed": _rounded(row.figures.values(metric)),
        **_spread(found),
        "interval": None if found.interval is None else _ends(found.interval),
        "difference": _difference(row.differences.get(metric.key)),
    }


def _spread(found: Estimate | Cost) -> dict[str, float | None]:
    spread = found.spread
    values = {
        "mean": spread.mean,
        "median": spread.median,
        "lowest": spread.lowest,
        "highest": spread.highest,
        "deviation": spread.deviation,
    }
    return {name: _short(value) for name, value in values.items()}


def _difference(found: Difference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": _short(found.mean),
        "interval": _ends(found.interval),
        "p": _short(found.p),
        "covers": found.covers,
        "seeds": found.seeds,
        "interval_over_images": None if found.over_images is None else _ends(found.over_images),
    }


def _cost(found: Cost | None) -> dict[str, Any] | None:
    if found is None:
        return None
    by_seed = _rounded(found.by_seed)
    return {"by_seed": by_seed, **_spread(found), "relative": _short(found.relative)}


def _paper(paper: PaperRow) -> dict[str, Any]:
    return {
        **{METRICS[key].paper.field: value for key, value in paper.values.items()},
        "gpu": paper.gpu,
        "relative": {
            METRICS[key].paper.field: _short(value) for key, value in paper.relative.items()
        },
        "hours_not_compared": paper.apart,
    }


def _flat(row: Row, accuracies: Sequence[Accuracy]) -> dict[str, str | float | None]:
    values: dict[str, str | float | None] = {
        "cell": row.cell.label,
        "training": row.cell.training,
        "evaluation": row.cell.evaluation,
        "seeds": len(row.seeds),
        "seeds_wanted": len(row.wanted),
    }
    for metric in accuracies:
        values |= _flat_ap(row, metric.key)
    for one in COSTS:
        cost = row.costs.get(one.key)
        values[one.key] = None if cost is None else _short(cost.spread.mean)
        values[f"{one.key}_relative"] = None if cost is None else _short(cost.relative)
    paper = row.paper or PaperRow({}, {}, None, None)
    for any_metric in (*accuracies, *COSTS):
        name, key = f"paper_{any_metric.paper.field}", any_metric.key
        values[name] = paper.values.get(key)
        word = "difference" if isinstance(any_metric, Accuracy) else "relative"
        values[f"{name}_{word}"] = _short(paper.relative.get(key))
    return values | {"paper_gpu": paper.gpu}


def _flat_ap(row: Row, metric: str) -> dict[str, float | None]:
    found, against = row.estimates.get(metric), row.differences.get(metric)
    names = ("mean", "median", "lowest", "highest", "deviation")
    spread = dict.fromkeys(names) if found is None else _spread(found)
    pairs = {
        "": None if found is None else found.interval,
        "_difference": None if against is None else against.interval,
        "_difference_images": None if against is None else against.over_images,
    }
    values = {f"{metric}_{name}": spread[name] for name in names}
    values[f"{metric}_difference"] = None if against is None else _short(against.mean)
    values[f"{metric}_difference_p"] = None if against is None else _short(against.p)
    for name, interval in pairs.items():
        values[f"{metric}{name}_low"] = None if interval is None else _short(interval.low)
        values[f"{metric}{name}_high"] = None if interval is None else _short(interval.high)
    return values


def _ends(interval: Interval) -> list[float | None]:
    return [_short(interval.low), _short(interval.high)]


def _rounded(values: Mapping[int, float]) -> dict[str, float | None]:
    return {str(seed): _short(value) for seed, value in values.items()}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
