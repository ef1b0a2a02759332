"""Judge the claims of an ablation by rules that were written before anything ran.

Every rule requires one or more quantities to lie above a margin, such as the difference of two
cells. A quantity is known up to an interval: for AP the paired one over images, and over seeds
where there are two or more (see `statistics`); for other accuracies and for costs the range over
seeds; exact costs have none. It lies above the margin if its whole interval does, not above if its
whole interval lies at or below the margin, and is undecided otherwise. A claim

- holds if all of its quantities lie above their margins,
- fails if one of them does not,
- is undecided otherwise, and as long as a cell that it names has not been run or an accuracy that
  is not resampled has only one seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, assert_never

from mimdet_cli.ablation.definition import Claim, Higher, NotLower, Rule, Saturates, Trend
from mimdet_cli.ablation.judge.statistics import (
    CellFigures,
    Contrast,
    Resampling,
    contrast,
    why_unpaired,
)
from mimdet_cli.evaluation.metrics import METRICS, Accuracy, CostMetric, Metric

Judgement = Literal["holds", "fails", "undecided"]

TWO_SEEDS: Final = 2


FiguresByCell = Mapping[str, CellFigures]
"""The cells of an ablation by label, without those that have not been run."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, the judgement of its rule, and a sentence with the numbers behind it."""

    claim: Claim
    judgement: Judgement
    numbers: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """A weighted sum of cells that should lie above `margin`."""

    name: str
    terms: Sequence[tuple[float, str]]
    margin: float = 0.0


def judge(claim: Claim, table: FiguresByCell, resampling: Resampling) -> Verdict:
    """The verdict on `claim`."""
    metric = METRICS[claim.metric]
    reason = _why_unknown(claim.cells, table, metric)
    if reason is not None:
        return Verdict(claim, "undecided", reason)
    pairs = []
    for quantity in quantities(claim.rule):
        terms = [(weight, table[cell]) for weight, cell in quantity.terms]
        measured = contrast(terms, metric, resampling)
        assert measured is not None
        pairs.append((quantity, measured))
    judgement = _together([_side(measured, quantity.margin) for quantity, measured in pairs])
    means = "; ".join(_mean(label, table[label], metric) for label in claim.cells)
    steps = "; ".join(_sentence(quantity, measured, metric) for quantity, measured in pairs)
    return Verdict(claim, judgement, f"{metric.name} {means}. {steps}.")


def quantities(rule: Rule) -> Iterator[Quantity]:
    """The quantities that `rule` requires to lie above their margins."""
    match rule:
        case Higher():
            yield Quantity("difference", [(1, rule.cell), (-1, rule.than)], rule.by)
        case NotLower():
            yield Quantity("difference", [(1, rule.cell), (-1, rule.than)], -rule.by)
        case Trend():
            falls = rule.kind == "falls"
            for cell, following in pairwise(rule.cells):
                higher, lower = (cell, following) if falls else (following, cell)
                name = f"fall to {following}" if falls else f"to {following}"
                yield Quantity(name, [(1, higher), (-1, lower)])
        case Saturates():
            first, second, *_ = rule.cells
            *_, before, last = rule.cells
            terms = [(1.0, second), (-1.0, first), (1.0, before), (-1.0, last)]
            yield Quantity("first step minus last step", terms)
        case _:
            assert_never(rule)


def _why_unknown(cells: Sequence[str], table: FiguresByCell, metric: Metric) -> str | None:
    absent = [cell for cell in dict.fromkeys(cells) if cell not in table]
    if absent:
        return f"not run: {', '.join(absent)}."
    blank = [cell for cell in dict.fromkeys(cells) if not table[cell].values(metric)]
    if blank:
        return f"no {metric.name} of {', '.join(blank)}."
    if not isinstance(metric, Accuracy):
        return None
    if metric.resampled:
        reason = why_unpaired([table[cell].resampled[metric.key] for cell in cells])
        return None if reason is None else f"the cells cannot be compared: {reason}."
    few = [cell for cell in dict.fromkeys(cells) if len(table[cell].values(metric)) < TWO_SEEDS]
    if few:
        return f"{metric.name} is not resampled over images and has one seed of {', '.join(few)}."
    return None


def _side(found: Contrast, margin: float) -> Judgement:
    if found.interval.low > margin:
        return "holds"
    return "fails" if found.interval.high <= margin else "undecided"


def _together(sides: Sequence[Judgement]) -> Judgement:
    if "fails" in sides:
        return "fails"
    return "undecided" if "undecided" in sides else "holds"


def _mean(label: str, cell: CellFigures, metric: Metric) -> str:
    values = list(cell.values(metric).values())
    show = metric.text
    mean = show(sum(values) / len(values))
    spread = f" ({show(min(values))} to {show(max(values))})" if min(values) < max(values) else ""
    return f"{label}: {mean}{spread}"


def _sentence(quantity: Quantity, found: Contrast, metric: Metric) -> str:

    def show(value: float) -> str:
        return metric.text(value, "+")

    text = f"{quantity.name} {show(found.mean)}"
    if found.p is not None:
        seeds = "1 seed" if found.seeds == 1 else f"{found.seeds} seeds"
        text += f" [{show(found.interval.low)}, {show(found.interval.high)}] "
        text += f"(95 % over {found.covers}, {seeds}; p {found.p:.2g})"
    elif found.interval.low < found.interval.high:
        text += f" [{show(found.interval.low)}, {show(found.interval.high)}] (range over seeds)"
    elif found.seeds == 1 and isinstance(metric, CostMetric) and not metric.exact:
        text += " (1 seed)"
    if quantity.margin:
        text += f", margin {show(quantity.margin)}"
    return text
