"""The published figures of an ablation's cells, and each relative to the paper's own default cell.

Nothing of ours is used: a table shows them in columns of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimdet_cli.ablation.definition import Paper
from mimdet_cli.evaluation.metrics import METRICS, Accuracy

OTHER_GPU: Final = "other GPU"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """Published figures of a cell by the keys of the metrics, in the paper's units.

    `relative` are differences of AP in points, and costs as multiples, to the paper's figure of the
    default cell; `gpu` is that of the hours, and `apart` says why those are not compared, if so.
    """

    values: Mapping[str, float]
    relative: Mapping[str, float]
    gpu: str | None
    apart: str | None


def paper_rows(paper: Mapping[str, Paper], default: str) -> dict[str, PaperRow]:
    """The rows that the paper has, by cell."""
    base = paper.get(default, Paper())
    return {label: _row(one, base, label == default) for label, one in paper.items()}


def _row(one: Paper, base: Paper, is_default: bool) -> PaperRow:
    values = _values(one)
    bases = _values(base)
    shared = [METRICS[key] for key in values if key in bases]
    other_gpu = one.gpu is None or one.gpu != base.gpu
    apart = OTHER_GPU if other_gpu and any(metric.paper.on_gpu for metric in shared) else None
    relative: dict[str, float] = {}
    for metric in shared:
        if is_default or (metric.paper.on_gpu and apart):
            continue
        value, of_default = values[metric.key], bases[metric.key]
        is_accuracy = isinstance(metric, Accuracy)
        relative[metric.key] = value - of_default if is_accuracy else value / of_default
    return PaperRow(values, relative, one.gpu, apart)


def _values(paper: Paper) -> dict[str, float]:
    found = {key: paper.value(metric.paper.field) for key, metric in METRICS.items()}
    return {key: value for key, value in found.items() if value is not None}
