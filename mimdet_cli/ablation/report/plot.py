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
Place = Callable[[SummaryRow], float | None]
"""The position of a row, if known."""
Group = Callable[[SummaryRow], tuple[str, str]]
"""The line that a row belongs to, and its name there."""
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
    panels = [shown for shown in _panels(summary, key) if shown.points]
    panels = panels or [Panel(BEST.name, "", [], ours=True)]
    groups = list(dict.fromkeys(point.group for shown in panels for point in shown.points))
    figure = Figure(figsize=(WIDTH * len(panels) + 0.6, 4.6), dpi=130, layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    styles = _styles(groups)
    for axes, shown in zip(drawn, panels, strict=True):
        panel(axes, shown.title, shown.below, filled=bool(shown.points))
        if shown.points:
            _lines(axes, shown, styles)
    ours = [axes for axes, shown in zip(drawn, panels, strict=True) if shown.ours]
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
    return key if all(isinstance(value, int | float) for value in values) else None


def _across(summary: Summary) -> Metric | None:
    """The metric to plot against, unless it is box AP itself."""
    key = summary.record.ablation.plot
    return None if key is None or key == BEST.key else METRICS[key]


def _panels(summary: Summary, key: str | None) -> list[Panel]:
    """Ours over the evaluated key, ours over the metric, and the paper's over the first of them."""
    metric, rows = _across(summary), summary.rows
    group, suffix = _family(rows), ""
    found: list[Panel] = []
    if key is not None:
        word, group = key.rpartition(".")[2], _training
        title, places = f"{BEST.name} over {word}", sorted({_evaluated(row) for row in rows})
        ours, theirs = (_points(rows, _evaluated, group, ours=ours) for ours in (True, False))
        found.append(Panel(title, word, ours, ours=True, places=places))
        found.append(Panel(f"the paper's {title}", word, theirs, ours=False, places=places))
        standing = [row for row in rows if row.cell.label == summary.record.default] or rows
        evaluation = standing[0].cell.evaluation
        rows = [row for row in rows if row.cell.evaluation == evaluation]
        suffix = f" at {evaluation}"
    if metric is not None:
        title, name = f"{BEST.name} over {metric.name}", metric.name
        ours = _points(rows, _mean_of(metric), group, ours=True)
        found.insert(1, Panel(title + suffix, f"{name} ({metric.axis})", ours, ours=True))
        if key is None:
            theirs = _points(rows, _published_of(metric), group, ours=False)
            below = f"{name} ({metric.paper.axis})"
            found.append(Panel(f"the paper's {title}", below, theirs, ours=False))
    return found


def _points(rows: Sequence[SummaryRow], x: Place, group: Group, *, ours: bool) -> list[Point]:
    """The rows whose position and box AP are known, as our runs or as the paper have them."""
    points = []
    for row in rows:
        place, found = x(row), row.estimates.get(BEST.key)
        published = None if row.paper is None else row.paper.values.get(BEST.key)
        if place is None:
            continue
        if ours and found is not None:
            interval, spread = found.interval, found.spread
            ends = None if interval is None else (interval.low, interval.high)
            points.append(Point(*group(row), place, spread.mean, ends, spread.values))
        elif not ours and published is not None:
            points.append(Point(*group(row), place, published))
    return points


def _evaluated(row: SummaryRow) -> float:
    """The value of the only key that evaluation varies, read from the row's label."""
    return float(row.cell.evaluation.rpartition("=")[2])


def _mean_of(metric: Metric) -> Place:
    def value(row: SummaryRow) -> float | None:
        figures = row.estimates if isinstance(metric, Accuracy) else row.costs
        found = figures.get(metric.key)
        return None if found is None else found.spread.mean / metric.scale

    return value


def _published_of(metric: Metric) -> Place:
    def value(row: SummaryRow) -> float | None:
        return None if row.paper is None else row.paper.values.get(metric.key)

    return value


def _training(row: SummaryRow) -> tuple[str, str]:
    return row.cell.training, ""


def _family(rows: Sequence[SummaryRow]) -> Group:
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
        own = sorted((point for point in points if point.group == group), key=lambda point: point.x)
        xs = [point.x + (place - (len(groups) - 1) / 2) * apart for point in own]
        axes.plot(xs, [point.mean for point in own], **styles[group])
        for x, point in zip(xs, own, strict=True):
            _whiskers(axes, x, point, styles[group]["color"])
            _name(axes, x, point, styles[group]["color"], below=place % 2 == 0)
    axes.margins(x=0.08)
    if drawn.places:
        axes.set_xticks(drawn.places, [f"{place:g}" for place in drawn.places])
    elif max(point.x for point in points) > WIDE * min(point.x for point in points) > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _name(axes: Axes, x: float, point: Point, colour: str, *, below: bool) -> None:
    axes.annotate(
        point.name,
        (x, point.mean),
        (5, -10) if below else (-4, 7),
        textcoords="offset points",
        fontsize=7.5,
        color=colour,
    )


def _whiskers(axes: Axes, x: float, point: Point, colour: str) -> None:
    if point.ends is not None:
        axes.plot([x, x], point.ends, color=colour, linewidth=1.1, alpha=0.75)
    if len(point.seeds) > 1:
        axes.plot([x] * len(point.seeds), point.seeds, "o", color=colour, markersize=3, alpha=0.45)


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
    ours = _points(rows, lambda row: place[row.cell.label], _label, ours=True)
    theirs = _points(rows, lambda row: place[row.cell.label], _label, ours=False)
    panels = [(BEST.name, ours), *([(f"the paper's {BEST.name}", theirs)] if theirs else [])]
    longest = max(len(label) for label in place)
    size = (0.075 * longest + 4.2 * len(panels), 1.7 + 0.36 * len(rows))
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, points) in zip(drawn, panels, strict=True):
        panel(axes, title, BEST.name, filled=bool(points))
        axes.grid(visible=True, axis="x", color="#e4e4e7", linewidth=0.7)
        axes.grid(visible=False, axis="y")
        for point in points:
            _in_list(axes, point, point.group == default)
            if point.group == default:
                axes.axvline(point.mean, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    drawn[0].set_yticks(range(len(rows)), list(place))
    drawn[0].set_ylim(len(rows) - 0.5, -0.5)
    _legend_below(figure, [], {})
    save(figure, path)


def _label(row: SummaryRow) -> tuple[str, str]:
    return row.cell.label, ""


def _in_list(axes: Axes, point: Point, is_default: bool) -> None:
    colour = COLOURS[1] if is_default else COLOURS[0]
    if point.ends is not None:
        axes.plot(point.ends, [point.x, point.x], color=colour, linewidth=1.4, alpha=0.75)
    if len(point.seeds) > 1:
        axes.plot(
            point.seeds, [point.x] * len(point.seeds), "o", color=colour, markersize=3, alpha=0.45
        )
    axes.plot([point.mean], [point.x], "s", color=colour, markersize=6)
