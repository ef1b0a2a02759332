"""The plot of an ablation: box AP as mean, interval over images (whiskers) and seeds (dots).

The ablation decides what the x axis shows. If evaluation varies a single key, it is that key, with
a line for each training. If the ablation names a metric to plot against, it is that metric, with a
line through the cells of a family: those whose labels differ only after the last "-", "=" or ", ",
as ViT-Adapter-T and ViT-Adapter-S do. Otherwise the cells are listed in order. The paper's figures
have a separate panel.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from mimdet_cli.ablation.report.summary import Summary, SummaryRow
from mimdet_cli.evaluation.metrics import BEST, METRICS, Accuracy, Metric
from mimdet_cli.reporting.charts import COLOURS, INK, MUTED, panel, save

FAMILY: Final = re.compile(r"(.+)(?:-|=|, )(.+)")
WIDTH: Final = 5.2
"""Width of a panel in inches."""
READING: Final = "squares: means; whiskers: 95 % intervals over images; dots: seeds"
WIDE: Final = 4
"""Ratio of the ends from which the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Point:
    """One cell: its position, its mean, the ends of its interval, and its seeds."""

    group: str
    name: str
    x: float
    mean: float
    ends: tuple[float, float] | None = None
    seeds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """Points over one axis; `places` are its ticks, if they are few."""

    title: str
    below: str
    points: Sequence[Point]
    ours: bool
    places: Sequence[float] = ()


def draw(summary: Summary, path: Path) -> None:
    """Draw the plot as a PNG, without panels that have no points."""
    key = _evaluated_key(summary)
    if key is None and _across(summary) is None:
        _draw_list(summary, path)
        return
    panels = [one for one in _panels(summary, key) if one.points]
    panels = panels or [Panel(BEST.name, "", [], ours=True)]
    groups = list(dict.fromkeys(point.group for one in panels for point in one.points))
    figure = Figure(figsize=(WIDTH * len(panels) + 0.6, 4.6), dpi=130, layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = _styles(groups)
    for axes, one in zip(drawn, panels, strict=True):
        panel(axes, one.title, one.below, filled=bool(one.points))
        if one.points:
            _lines(axes, one, styles)
    ours = [axes for axes, one in zip(drawn, panels, strict=True) if one.ours]
    limits = [limit for axes in ours for limit in axes.get_ylim()]
    for axes in ours:
        axes.set_ylim(min(limits), max(limits))
    _legend_below(figure, groups if len(groups) > 1 else [], styles)
    save(figure, path)


def _evaluated_key(summary: Summary) -> str | None:
    """The only key that evaluation varies, if its values are numbers."""
    axes = summary.record.ablation.evaluate.axes
    if len(axes) != 1 or summary.record.ablation.evaluate.variants:
        return None
    (key, values) = next(iter(axes.items()))
    return key if all(isinstance(one, int | float) for one in values) else None


def _across(summary: Summary) -> Metric | None:
    """The metric to plot against, unless it is box AP itself."""
    key = summary.record.ablation.plot
    return None if key is None or key == BEST.key else METRICS[key]


def _panels(summary: Summary, key: str | None) -> list[Panel]:
    """Ours over the evaluated key, ours over the metric, and the paper's over the first of them."""
    metric, rows = _across(summary), summary.rows
    found: list[Panel] = []
    group, kept, suffix = _family(rows), rows, ""
    if key is not None:
        word = key.rpartition(".")[2]
        group = _training
        places = sorted({_evaluated(row) for row in rows})
        points = _ours(rows, _evaluated, group)
        found.append(Panel(f"{BEST.name} over {word}", word, points, ours=True, places=places))
        standing = [row for row in rows if row.cell.label == summary.record.default] or rows
        evaluation = standing[0].cell.evaluation
        kept = [row for row in rows if row.cell.evaluation == evaluation]
        suffix = f" at {evaluation}"
    if metric is not None:
        title, below = f"{BEST.name} over {metric.name}{suffix}", f"{metric.name} ({metric.axis})"
        points = _ours(kept, _mean_of(metric), group)
        found.append(Panel(title, below, points, ours=True))
    return [*found, *_published(summary, key, metric)]


def _published(summary: Summary, key: str | None, metric: Metric | None) -> list[Panel]:
    """The paper's panel, if its table has what the axis shows."""
    rows = summary.rows
    if key is not None:
        word = key.rpartition(".")[2]
        places = sorted({_evaluated(row) for row in rows})
        points = _theirs(rows, _evaluated, _training)
        title = f"the paper's {BEST.name} over {word}"
        return [Panel(title, word, points, ours=False, places=places)]
    if metric is None:
        return []
    title = f"the paper's {BEST.name} over {metric.name}"
    below = f"{metric.name} ({metric.paper.axis})"
    points = _theirs(rows, _published_of(metric), _family(rows))
    return [Panel(title, below, points, ours=False)]


def _ours(
    rows: Sequence[SummaryRow],
    x: Callable[[SummaryRow], float | None],
    group: Callable[[SummaryRow], tuple[str, str]],
) -> list[Point]:
    points = []
    for row in rows:
        found, place = row.estimates.get(BEST.key), x(row)
        if found is not None and place is not None:
            interval, spread = found.interval, found.spread
            ends = None if interval is None else (interval.low, interval.high)
            points.append(Point(*group(row), place, spread.mean, ends, spread.values))
    return points


def _theirs(
    rows: Sequence[SummaryRow],
    x: Callable[[SummaryRow], float | None],
    group: Callable[[SummaryRow], tuple[str, str]],
) -> list[Point]:
    points = []
    for row in rows:
        ap = None if row.paper is None else row.paper.values.get(BEST.key)
        place = x(row)
        if ap is not None and place is not None:
            points.append(Point(*group(row), place, ap))
    return points


def _evaluated(row: SummaryRow) -> float:
    """The value of the only key that evaluation varies, read from the row's label."""
    return float(row.cell.evaluation.rpartition("=")[2])


def _mean_of(metric: Metric) -> Callable[[SummaryRow], float | None]:
    def value(row: SummaryRow) -> float | None:
        figures = row.estimates if isinstance(metric, Accuracy) else row.costs
        found = figures.get(metric.key)
        return None if found is None else found.spread.mean / metric.scale

    return value


def _published_of(metric: Metric) -> Callable[[SummaryRow], float | None]:
    def value(row: SummaryRow) -> float | None:
        return None if row.paper is None else row.paper.values.get(metric.key)

    return value


def _training(row: SummaryRow) -> tuple[str, str]:
    return row.cell.training, ""


def _family(rows: Sequence[SummaryRow]) -> Callable[[SummaryRow], tuple[str, str]]:
    """Family and member of a cell; one without relatives is its own family."""
    parts = {row.cell.label: FAMILY.fullmatch(row.cell.label) for row in rows}
    stems = [found[1] for found in parts.values() if found is not None]

    def family(row: SummaryRow) -> tuple[str, str]:
        found = parts[row.cell.label]
        if found is None or stems.count(found[1]) == 1:
            return row.cell.label, ""
        return found[1], found[2]

    return family


def _lines(axes: Axes, drawn: Panel, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw a line for each group, with whiskers, seeds and the names of its members."""
    points = drawn.points
    groups = list(dict.fromkeys(point.group for point in points))
    width = max(point.x for point in points) - min(point.x for point in points)
    apart = 0.012 * width if drawn.places and drawn.ours else 0.0
    for place, group in enumerate(groups):
        own = sorted((one for one in points if one.group == group), key=lambda one: one.x)
        xs = [one.x + (place - (len(groups) - 1) / 2) * apart for one in own]
        axes.plot(xs, [one.mean for one in own], **styles[group])
        for x, one in zip(xs, own, strict=True):
            _whiskers(axes, x, one, styles[group]["color"])
            _name(axes, x, one, styles[group]["color"], below=place % 2 == 0)
    axes.margins(x=0.08)
    if drawn.places:
        axes.set_xticks(drawn.places, [f"{one:g}" for one in drawn.places])
    elif max(one.x for one in points) > WIDE * min(one.x for one in points) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _name(axes: Axes, x: float, one: Point, colour: str, *, below: bool) -> None:
    axes.annotate(
        one.name,
        (x, one.mean),
        (5, -10) if below else (-4, 7),
        textcoords="offset points",
        fontsize=7.5,
        color=colour,
    )


def _whiskers(axes: Axes, x: float, one: Point, colour: str) -> None:
    if one.ends is not None:
        axes.plot([x, x], one.ends, color=colour, linewidth=1.1, alpha=0.75)
    if len(one.seeds) > 1:
        axes.plot([x] * len(one.seeds), one.seeds, "o", color=colour, markersize=3, alpha=0.45)


def _styles(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour for each group, with other dashes once the colours are used up."""
    dashes = ("-", "--", ":")
    return {
        group: {
            "color": COLOURS[at % len(COLOURS)],
            "linestyle": dashes[at // len(COLOURS) % len(dashes)],
            "linewidth": 1.7,
            "marker": "s",
            "markersize": 5,
        }
        for at, group in enumerate(groups)
    }


def _legend_below(
    figure: Figure, groups: Sequence[str], styles: Mapping[str, Mapping[str, Any]]
) -> None:
    """Say what squares, whiskers and dots are, and below that list the groups."""
    legend = figure.legend(
        [Line2D([], [], **styles[group]) for group in groups],
        groups,
        loc="outside lower center",
        ncols=min(max(len(groups), 1), 6),
        fontsize=8,
        frameon=False,
        labelcolor=INK,
        title=READING,
        title_fontsize=8,
    )
    legend.get_title().set_color(MUTED)


def _draw_list(summary: Summary, path: Path) -> None:
    """Draw the cells from top to bottom, ours in one panel, the paper's in another."""
    rows, default = summary.rows, summary.record.default
    place = {row.cell.label: float(at) for at, row in enumerate(rows)}
    ours = _ours(rows, lambda row: place[row.cell.label], _label)
    theirs = _theirs(rows, lambda row: place[row.cell.label], _label)
    panels = [(BEST.name, ours), *([(f"the paper's {BEST.name}", theirs)] if theirs else [])]
    longest = max(len(label) for label in place)
    size = (0.075 * longest + 4.2 * len(panels), 1.7 + 0.36 * len(rows))
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, points) in zip(drawn, panels, strict=True):
        panel(axes, title, BEST.name, filled=bool(points))
        axes.grid(visible=True, axis="x", color="#e4e4e7", linewidth=0.7)
        axes.grid(visible=False, axis="y")
        for one in points:
            _in_list(axes, one, one.group == default)
            if one.group == default:
                axes.axvline(one.mean, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    drawn[0].set_yticks(range(len(rows)), list(place))
    drawn[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend_below(figure, [], {})
    save(figure, path)


def _label(row: SummaryRow) -> tuple[str, str]:
    return row.cell.label, ""


def _in_list(axes: Axes, one: Point, is_default: bool) -> None:
    colour = COLOURS[1] if is_default else COLOURS[0]
    if one.ends is not None:
        axes.plot(one.ends, [one.x, one.x], color=colour, linewidth=1.4, alpha=0.75)
    if len(one.seeds) > 1:
        axes.plot(one.seeds, [one.x] * len(one.seeds), "o", color=colour, markersize=3, alpha=0.45)
    axes.plot([one.mean], [one.x], "s", color=colour, markersize=6)
