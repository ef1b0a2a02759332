"""The published figures of an ablation's cells, and each relative to the paper's own default cell.

Nothing of ours is used: a table shows them in columns of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimdet_cli.ablation.schema import Metric, Paper

FIELDS: Final[Mapping[Metric, str]] = {
    "box_ap": "box_ap",
    "mask_ap": "mask_ap",
    "train_s": "hours",
    "step_s": "step_s",
    "peak_memory_gb": "memory_gb",
    "parameters": "params_m",
    "gmacs": "gmacs",
}
"""What the papers' figures are called, by metric."""
AP: Final = ("box_ap", "mask_ap")
OTHER_GPU: Final = "other GPU"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """Published figures of a cell by metric, in the paper's units.

    `relative` are differences of AP in points, and costs as multiples, to the paper's figure of the
    default cell; `gpu` is that of the hours, and `apart` says why those are not compared, if so.
    """

    values: Mapping[Metric, float]
    relative: Mapping[Metric, float]
    gpu: str | None
    apart: str | None


def paper_rows(paper: Mapping[str, Paper], default: str) -> dict[str, PaperRow]:
    """The rows that the paper has, by cell."""
    base = paper.get(default, Paper())
    return {label: _row(one, base, label == default) for label, one in paper.items()}


def _row(one: Paper, base: Paper, is_default: bool) -> PaperRow:
    values = _values(one)
    bases = _values(base)
    apart = (
        OTHER_GPU
        if {"train_s"} <= values.keys() & bases.keys() and (one.gpu is None or one.gpu != base.gpu)
        else None
    )
    relative: dict[Metric, float] = {}
    for metric, value in values.items():
        if metric not in bases or is_default or (metric == "train_s" and apart):
            continue
        relative[metric] = value - bases[metric] if metric in AP else value / bases[metric]
    return PaperRow(values, relative, one.gpu, apart)


def _values(paper: Paper) -> dict[Metric, float]:
    found: dict[Metric, float | None] = {
        metric: getattr(paper, field) for metric, field in FIELDS.items()
    }
    return {metric: value for metric, value in found.items() if value is not None}
