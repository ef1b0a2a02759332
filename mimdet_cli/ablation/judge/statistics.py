"""What the figures of cells say: spread over seeds, intervals over images, paired differences.

Two things would come out otherwise if a table were made again: the images that are scored, and the
seeds that models are trained from. They are shown apart.

- `Spread`: mean, median, lowest, highest and standard deviation over seeds, on the images as they
  are. Nothing is resampled.
- `Estimate.interval`: the images are resampled with replacement, as many as there are, and AP is
  computed anew for each seed and averaged over the seeds. It says how far the same trained models
  would move on other images; it says nothing about other seeds.
- `Difference`: every cell sees the same resampled images, so what makes an image easy for all
  cancels. Cells are paired by seed as well: the difference is taken between models of the same
  seed. `over_images` is its interval for the trained models. `interval` and `p` cover images and
  seeds where there are two or more: the mean over S seeds is known up to its standard error times
  Student's t of S - 1 degrees of freedom, of which every resample gets a value added. With one
  seed they cover the images alone; `covers` says which.

Why t, and not resampled seeds: of intervals that should hold the truth 95 times in 100, those of
resampled seeds hold it 61 times with two seeds, 82 with three and 87 with five, even if widened by
the usual factor sqrt(S / (S - 1)), and those of t 94 to 96 times (4,000 simulated sets of normal
seeds each). The price is an interval of 12.7 standard errors to either side with two seeds and 4.3
with three: so little do they tell.

Intervals are the middle 95 % of the resamples. The p-value is twice the smaller share of resamples
on either side of zero, the observed difference counted as one of them, so that it is never zero.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13 (percentiles);
Davison and Hinkley, "Bootstrap Methods and their Application" (1997), chapter 4 (p-value);
Hesterberg, "What Teachers Should Know About the Bootstrap" (arXiv:1411.5279; few observations).

Legend: N images, S seeds, B resamples.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, Self

import numpy as np

from mimdet_cli.evaluation.bootstrap import Floats, Ints, Matches

FINE: Final = 200
"""Draws behind every quantile of Student's t."""
Covers = Literal["images", "images and seeds", "seeds"]


@cache
def students_t(degrees: int, count: int, seed: int) -> Floats:
    """Student's t at `count` evenly spread quantiles, in random order.

    Plain draws would do, but the tails of few degrees of freedom differ from draw to draw.
    """
    generator = np.random.default_rng([seed, 0, degrees])
    drawn = np.sort(generator.standard_t(degrees, count * FINE))
    quantiles = drawn.reshape(count, FINE)[:, FINE // 2]
    return generator.permutation((quantiles - quantiles[::-1]) / 2)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often is resampled, and from which seed; one plan serves all cells of a report."""

    resamples: int = 1000
    seed: int = 0

    def counts(self, images: int) -> Ints:
        """How often each of N images counts, (B, N): the same for every cell that has as many."""
        generator = np.random.default_rng([self.seed, images])
        return generator.multinomial(images, [1 / images] * images, size=self.resamples)

    def luck(self, seeds: int) -> Floats:
        """By how many standard errors (B,) other seeds would move a mean over S of them."""
        return students_t(seeds - 1, self.resamples, self.seed)


@dataclass(frozen=True, slots=True)
class Resampled:
    """AP of one model in points of 100: on its images as they are, and resampled.

    `draws` (B,) is NaN where a resample has no object. Models of equal `image_ids` are paired.
    """

    value: float
    draws: Floats
    image_ids: tuple[int, ...]

    @classmethod
    def of(cls, matches: Matches, plan: Plan) -> Self | None:
        """A model's matched results under a plan; None where the images have no object."""
        value = matches.ap
        if value is None:
            return None
        draws = matches.resampled(plan.counts(len(matches.image_ids)))
        return cls(value, draws, tuple(matches.image_ids.tolist()))


BySeed = Mapping[int, Resampled]
"""A cell's models: one for each seed that has been run."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Figures over seeds; `deviation` is the sample's standard deviation, None for one seed."""

    values: tuple[float, ...]
    mean: float
    median: float
    lowest: float
    highest: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one figure."""
        return cls(
            values=tuple(values),
            mean=statistics.fmean(values),
            median=statistics.median(values),
            lowest=min(values),
            highest=max(values),
            deviation=statistics.stdev(values) if len(values) > 1 else None,
        )


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of resamples."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """An accuracy of a cell: over seeds, and the interval of its mean over images.

    `interval` is None where nothing was resampled.
    """

    spread: Spread
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean difference over the shared seeds, what it may be by chance, and chance of what.

    `over_images` and `p` are None where nothing was resampled.
    """

    mean: float
    interval: Interval
    over_images: Interval | None
    p: float | None
    covers: Covers
    seeds: int


def estimate(cell: BySeed) -> Estimate | None:
    """AP of a cell; None before any of its seeds has been scored."""
    if not cell:
        return None
    draws = np.stack([one.draws for one in cell.values()]).mean(axis=0)  # (S, B) -> (B,)
    return Estimate(Spread.of([one.value for one in cell.values()]), _middle(draws))


def difference(cell: BySeed, default: BySeed, plan: Plan) -> Difference | None:
    """AP of `cell` less that of `default`; None where `why_unpaired` has a reason."""
    return contrast([(1, cell), (-1, default)], plan)


def contrast(terms: Sequence[tuple[float, BySeed]], plan: Plan) -> Difference | None:
    """A weighted sum of cells, such as the second step along three of them less the first."""
    if why_unpaired([cell for _, cell in terms]) is not None:
        return None
    seeds = shared_seeds([cell for _, cell in terms])
    values = [sum(weight * cell[seed].value for weight, cell in terms) for seed in seeds]
    of_seeds = [sum(weight * cell[seed].draws for weight, cell in terms) for seed in seeds]
    draws = np.stack(of_seeds).mean(axis=0)  # (S, B) -> (B,)
    over_images = _middle(draws)
    covers: Covers = "images"
    if len(seeds) > 1:
        error = statistics.stdev(values) / len(seeds) ** 0.5
        draws = draws + error * plan.luck(len(seeds))
        covers = "images and seeds"
    return Difference(
        statistics.fmean(values),
        _middle(draws),
        over_images,
        _two_sided(draws),
        covers,
        len(seeds),
    )


def shared_seeds(cells: Sequence[BySeed]) -> list[int]:
    """The seeds that all of `cells` have been scored for, ascending."""
    return sorted(set.intersection(*(set(cell) for cell in cells)))


def why_unpaired(cells: Sequence[BySeed]) -> str | None:
    """Why cells cannot be compared image by image and seed by seed; None where they can."""
    if not shared_seeds(cells):
        return "no seed has been scored for all of them"
    if len({one.image_ids for cell in cells for one in cell.values()}) > 1:
        return "they were scored on different images"
    return None


def range_contrast(terms: Sequence[tuple[float, Sequence[float]]]) -> Difference:
    """A weighted sum of figures: of their means, and between the extremes over their seeds.

    For what is not resampled: two or three figures say no more than their range.
    """
    ends = [sorted((weight * min(v), weight * max(v))) for weight, v in terms]
    return Difference(
        mean=sum(weight * statistics.fmean(values) for weight, values in terms),
        interval=Interval(sum(low for low, _ in ends), sum(high for _, high in ends)),
        over_images=None,
        p=None,
        covers="seeds",
        seeds=min(len(values) for _, values in terms),
    )


def _middle(draws: Floats) -> Interval:
    low, high = np.nanpercentile(draws, (2.5, 97.5)).tolist()
    return Interval(low, high)


def _two_sided(draws: Floats) -> float:
    known = draws[~np.isnan(draws)]
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(known)))
