"""The files of a report: Markdown, CSV, JSON and the plot.

JSON is complete. By metric, `cells` hold our figures (`ap`: by seed, mean, median, lowest, highest,
deviation, `interval` of the mean over images, `difference` to the default cell with its `interval`,
`p`, what those cover, and the interval over images alone, if images are resampled; `costs`: by
seed, mean, median, lowest, highest, and the ratio to the default cell's, `relative`) apart from the
published ones (`paper`: figures in the paper's units, `relative` to the paper's own default cell:
by points for AP, as multiples for the rest). `claims` are the rules, verdicts and numbers; `runs`,
how far each run is; `differs`, the sentences on what sets the runs apart from the paper's. AP is in
points of 100, times in seconds, memory in GB, `gmacs` in 10^9; null is unknown.

CSV has a row for each cell with the figures of the JSON; names of the paper's columns begin with
`paper_`.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mimdet_cli.ablation.folder import REPORTS
from mimdet_cli.ablation.judge.statistics import Contrast, Estimate, Interval
from mimdet_cli.ablation.report.paper import PaperRow
from mimdet_cli.ablation.report.plot import draw
from mimdet_cli.ablation.report.summary import CellCost, Summary, SummaryRow
from mimdet_cli.ablation.report.text import command, markdown
from mimdet_cli.errors import ResourceError
from mimdet_cli.evaluation.metrics import COSTS, METRICS, Accuracy
from mimdet_cli.files import write_text

DIGITS = 6
SPREAD = ("mean", "median", "lowest", "highest", "deviation")


def write(summary: Summary, out: Path) -> list[Path]:
    """Write every form of the report into the ablation's folder; the paths."""
    folder, name = out / REPORTS, summary.record.name
    md, table, record, picture = (
        folder / f"{name}.{kind}" for kind in ("md", "csv", "json", "png")
    )
    values = to_json(summary)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(md, markdown(summary))
        write_text(table, to_csv(values))
        write_text(record, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        draw(summary, picture)
    except OSError as error:
        raise ResourceError(
            f"the report cannot be written: {error.strerror}.",
            where=str(folder),
            fix="free some space, or copy the folder to where it can be written.",
        ) from error
    return [md, table, record, picture]


def to_json(summary: Summary) -> dict[str, Any]:
    """The whole report as a record."""
    record, split = summary.record, summary.split
    states = ("done", "failed", "unfinished")
    return {
        "name": record.name,
        "question": record.ablation.question,
        "source": record.ablation.source,
        "command": command(summary),
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
        "resamples": summary.resampling.resamples,
        "state": {state: len(summary.in_state(state)) for state in states},
        "cells": [_cell(row, summary.accuracies) for row in summary.rows],
        "claims": [
            {
                **verdict.claim.model_dump(mode="json"),
                "verdict": verdict.judgement,
                "numbers": verdict.numbers,
            }
            for verdict in summary.verdicts
        ],
        "differs": list(summary.differs),
        "devices": summary.devices,
        "left_out": dict(record.left_out),
        "runs": [asdict(run) for run in summary.runs],
        "notes": list(record.ablation.notes),
    }


def to_csv(report: Mapping[str, Any]) -> str:
    """The cells of `to_json`, a row each, under a heading."""
    rows = [_flat(cell) for cell in report["cells"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _cell(row: SummaryRow, accuracies: Sequence[Accuracy]) -> dict[str, Any]:
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


def _ap(row: SummaryRow, metric: Accuracy) -> dict[str, Any] | None:
    found = row.estimates.get(metric.key)
    if found is None:
        return None
    return {
        "by_seed": _rounded(row.figures.values(metric)),
        **_spread(found),
        "interval": _ends(found.interval),
        "difference": _difference(row.differences.get(metric.key)),
    }


def _spread(found: Estimate | CellCost) -> dict[str, float | None]:
    return {name: _short(getattr(found.spread, name)) for name in SPREAD}


def _difference(found: Contrast | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": _short(found.mean),
        "interval": _ends(found.interval),
        "p": _short(found.p),
        "covers": found.covers,
        "seeds": found.seeds,
        "interval_over_images": _ends(found.over_images),
    }


def _cost(found: CellCost | None) -> dict[str, Any] | None:
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


def _flat(cell: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"cell": cell["label"]}
    values |= {name: cell[name] for name in ("training", "evaluation")}
    values |= {name: len(cell[name]) for name in ("seeds", "seeds_wanted")}
    for key, ap in cell["ap"].items():
        values |= {f"{key}_{name}": figure for name, figure in _flat_ap(ap or {}).items()}
    for key, cost in cell["costs"].items():
        found = cost or {}
        values |= {key: found.get("mean"), f"{key}_relative": found.get("relative")}
    paper = cell["paper"] or {"relative": {}}
    for key in (*cell["ap"], *cell["costs"]):
        field = METRICS[key].paper.field
        word = "difference" if isinstance(METRICS[key], Accuracy) else "relative"
        values[f"paper_{field}"] = paper.get(field)
        values[f"paper_{field}_{word}"] = paper["relative"].get(field)
    return {**values, "paper_gpu": paper.get("gpu")}


def _flat_ap(ap: Mapping[str, Any]) -> dict[str, float | None]:
    difference = ap.get("difference") or {}
    values = {name: ap.get(name) for name in SPREAD}
    values |= {"difference": difference.get("mean"), "difference_p": difference.get("p")}
    for prefix, ends in (
        ("", ap.get("interval")),
        ("difference_", difference.get("interval")),
        ("difference_images_", difference.get("interval_over_images")),
    ):
        values[f"{prefix}low"], values[f"{prefix}high"] = ends or (None, None)
    return values


def _ends(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [_short(interval.low), _short(interval.high)]


def _rounded(values: Mapping[int, float]) -> dict[str, float | None]:
    return {str(seed): _short(value) for seed, value in values.items()}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
