"""Charts of a run: losses, learning rate and AP over the steps; precision over recall.

Figures are made without pyplot, whose global state would need a display.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mimdet_cli.evaluation.metrics import HEADLINES, Task
from mimdet_cli.files import replacing

Record = Mapping[str, Any]
Numbers = NDArray[np.float64]

INK: Final = "#27272a"
MUTED: Final = "#71717a"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SMOOTHED_POINTS: Final = 40


def training_curves(metrics: Iterable[Record], path: Path) -> None:
    """Draw the records of `metrics.jsonl` as a PNG: loss, learning rate, AP."""
    records = list(metrics)
    train = [record for record in records if record["event"] == "train"]
    evals = [record for record in records if record["event"] == "eval"]
    figure = Figure(figsize=(12, 3.6), dpi=130, layout="constrained")
    loss, rate, ap = figure.subplots(1, 3, width_ratios=(1.35, 1, 1))
    panel(loss, "training loss", "step", filled=bool(train))
    panel(rate, "learning rate", "step", filled=bool(train))
    panel(ap, "AP on the val split", "step", filled=bool(evals))
    if train:
        _losses(loss, train)
        _rate(rate, train)
    if evals:
        _ap(ap, evals)
    save(figure, path)


class PrecisionReport(Protocol):
    """An AP report's mean precision at equally spaced recalls from 0 to 1."""

    @property
    def curves(self) -> Mapping[Task, Mapping[str, Sequence[float]]]:
        """Curves by IoU threshold for each task that was scored."""


def pr_curves(report: PrecisionReport, path: Path) -> None:
    """Draw precision over recall as a PNG: a panel for each task that was scored.

    A curve without points (no object of any class) is omitted.
    """
    curves = report.curves
    figure = Figure(figsize=(4.4 * len(curves), 3.8), dpi=130, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(curves)))
    for axes, (kind, lines) in zip(panels, curves.items(), strict=True):
        shown = {iou: line for iou, line in lines.items() if len(line)}
        panel(axes, f"{kind}: precision over recall", "recall", filled=bool(shown))
        for colour, (iou, line) in zip(COLOURS, shown.items(), strict=False):
            recalls = np.linspace(0, 1, len(line))
            axes.plot(recalls, line, color=colour, linewidth=1.8, label=f"IoU {iou}")
            axes.fill_between(recalls, line, color=colour, alpha=0.08, linewidth=0)
        if shown:
            axes.set(xlim=(0, 1), ylim=(0, 1.02))
            _legend(axes)
    save(figure, path)


def smooth(values: Numbers, window: int) -> Numbers:
    """Centred running mean, over fewer values at both ends; gaps (NaN) are skipped."""
    half = window // 2
    known = np.isfinite(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    number = counts[last] - counts[first]
    return np.where(number > 0, (sums[last] - sums[first]) / np.maximum(number, 1), np.nan)


def panel(axes: Axes, title: str, below: str, *, filled: bool) -> None:
    """The common style; an empty panel says so."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(below, fontsize=8, color=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(labelsize=8, color=MUTED, labelcolor=MUTED, which="both")
    axes.grid(visible=True, axis="y", color="#e4e4e7", linewidth=0.7)
    axes.set_axisbelow(True)
    if not filled:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "nothing measured", ha="center", va="center", color=MUTED, fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write the PNG, whole or not at all."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _losses(axes: Axes, train: Sequence[Record]) -> None:
    """The total in front, its raw values behind it, the parts below; on a log axis."""
    steps = [record["step"] for record in train]
    window = max(len(train) // SMOOTHED_POINTS, 1)
    total = _column(record["loss"] for record in train)
    axes.plot(steps, total, color=MUTED, linewidth=0.6, alpha=0.45)
    axes.plot(steps, smooth(total, window), color=INK, linewidth=2, label="total")
    for colour, name in zip(COLOURS, train[0]["losses"], strict=False):
        part = _column(record["losses"].get(name) for record in train)
        line = smooth(part, window)
        axes.plot(steps, line, color=colour, linewidth=1.2, label=name.replace("_", " "))
    axes.set_yscale("log")
    _legend(axes, columns=2)


def _rate(axes: Axes, train: Sequence[Record]) -> None:
    axes.plot(
        [record["step"] for record in train],
        _column(record["lr"] for record in train),
        color=COLOURS[0],
        linewidth=1.8,
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=0)


def _ap(axes: Axes, evals: Sequence[Record]) -> None:
    steps = np.array([record["step"] for record in evals])
    for colour, metric in zip(COLOURS, HEADLINES.values(), strict=False):
        values = _column(record.get(metric.key) for record in evals)
        known = np.isfinite(values)
        if known.any():
            last = values[known][-1]
            axes.plot(
                steps[known],
                values[known],
                color=colour,
                linewidth=1.8,
                marker="o",
                markersize=4,
                label=f"{metric.name}, last {metric.text(last)}",
            )
    axes.set_ylim(bottom=0)
    if axes.lines:
        _legend(axes)


def _column(values: Iterable[float | None]) -> Numbers:
    """One number per record; null becomes NaN, which a plot omits."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _legend(axes: Axes, columns: int = 1) -> None:
    axes.legend(fontsize=7.5, frameon=False, ncols=columns, labelcolor=INK, handlelength=1.4)
