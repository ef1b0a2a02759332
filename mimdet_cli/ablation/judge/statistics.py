"""Statistics of cells: spread over seeds, intervals over images, paired differences.

Two things would differ if a table were made again: the images that are scored, and the seeds that
models are trained from. They are shown apart.

- `Spread`: mean, median, lowest, highest and standard deviation over seeds, on the images as they
  are. Nothing is resampled.
- `Estimate.interval`: the images are resampled with replacement, as many as there are; AP is
  computed for each seed and averaged over seeds. It says how far the same trained models
  would move on other images; it says nothing about other seeds.
- `Contrast`, such as the difference of two cells: every cell is scored on the same resampled
  images, so what makes an image easy for all of them cancels. Cells are paired by seed as well: the
  difference is between models of the same seed. `over_images` is its interval for these models.
  `interval` and `p` cover images and seeds if there are two seeds or more: the mean over S seeds is
  known up to its standard error times Student's t of S - 1 degrees of freedom, and one such value
  is added to every resample. With one seed they cover the images alone; `covers` says which.

Why t, and not resampled seeds: nominal 95 % intervals from resampled seeds contain the true value
61 times in 100 with two seeds, 82 with three and 87 with five, even if widened by the usual factor
sqrt(S / (S - 1)); those of t contain it 94 to 96 times (4,000 simulated sets of normal seeds each).
The price is an interval of 12.7 standard errors to either side with two seeds and 4.3 with three,
which is how little so few seeds tell.

Intervals are the middle 95 % of the resamples. The p-value is twice the smaller share of resamples
on either side of zero, with the observed difference counted as one of them, so it is never zero.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13 (percentiles);
Davison and Hinkley, "Bootstrap Methods and their Application" (1997), chapter 4 (p-value);
Hesterberg, "What Teachers Should Know About the Bootstrap" (arXiv:1411.5279; few observations).

Legend: N images, S seeds, B resamples.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal, Self

import numpy as np

from mimdet_cli.evaluation.bootstrap import Floats, Ints, Matches
from mimdet_cli.evaluation.metrics import Accuracy, Metric

FINE: Final = 200
"""Random values behind every quantile of Student's t."""
Covers = Literal["images", "images and seeds", "seeds"]


@cache
def students_t(degrees: int, count: int, seed: int) -> Floats:
    """Student's t at `count` evenly spread quantiles, in random order.

    With plain random values, the tails of few degrees of freedom would depend on the seed.
    """
    generator = np.random.default_rng([seed, 0, degrees])
    samples = np.sort(generator.standard_t(degrees, count * FINE))
    quantiles = samples.reshape(count, FINE)[:, FINE // 2]
    return generator.permutation((quantiles - quantiles[::-1]) / 2)


@dataclass(frozen=True, slots=True)
class Resampling:
    """The number of resamples and their seed, the same for all cells of a report."""

    resamples: int = 1000
    seed: int = 0

    def counts(self, images: int) -> Ints:
        """How often each of N images counts, (B, N): the same for every cell of N images."""
        generator = np.random.default_rng([self.seed, images])
        return generator.multinomial(images, [1 / images] * images, size=self.resamples)

    def shifts(self, seeds: int) -> Floats:
        """By how many standard errors (B,) other seeds would move a mean over S of them."""
        return students_t(seeds - 1, self.resamples, self.seed)


@dataclass(frozen=True, slots=True)
class Resampled:
    """AP of one model in points of 100: on its images as they are, and resampled.

    `replicates` (B,) is NaN where a resample has no object. Models of equal `image_ids` are paired.
    """

    value: float
    replicates: Floats
    image_ids: tuple[int, ...]

    @classmethod
    def of(cls, matches: Matches, resampling: Resampling) -> Self | None:
        """The AP of a model's matched results; None if the images have no object."""
        value = matches.ap
        if value is None:
            return None
        replicates = matches.resampled(resampling.counts(len(matches.image_ids)))
        return cls(value, replicates, tuple(matches.image_ids.tolist()))


BySeed = Mapping[int, Resampled]
"""A cell's models, one per seed that has been run."""


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

    `interval` is None for accuracies that are not resampled.
    """

    spread: Spread
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """A weighted sum of cells: its mean over the shared seeds, and its intervals.

    `over_images` and `p` are None for figures that are not resampled.
    """

    mean: float
    interval: Interval
    over_images: Interval | None
    p: float | None
    covers: Covers
    seeds: int


@dataclass(frozen=True, slots=True)
class CellFigures:
    """The figures of one cell by metric and seed: those that are resampled, and the others."""

    resampled: Mapping[str, BySeed] = field(default_factory=dict)
    plain: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def values(self, metric: Metric) -> dict[int, float]:
        """A metric by seed; empty if unknown."""
        if metric.key in self.resampled:
            return {seed: model.value for seed, model in self.resampled[metric.key].items()}
        return dict(self.plain.get(metric.key, {}))


def estimate(cell: CellFigures, metric: Accuracy) -> Estimate | None:
    """An accuracy of a cell; None until one of its seeds has been scored."""
    spread = [*cell.values(metric).values()]
    if not spread:
        return None
    if not metric.resampled:
        return Estimate(Spread.of(spread), None)
    models = cell.resampled[metric.key].values()
    replicates = np.stack([model.replicates for model in models]).mean(axis=0)  # (S, B) -> (B,)
    return Estimate(Spread.of(spread), _middle(replicates))


def contrast(
    terms: Sequence[tuple[float, CellFigures]], metric: Metric, resampling: Resampling
) -> Contrast | None:
    """A weighted sum of cells, such as the difference of two; None if it cannot be known."""
    if isinstance(metric, Accuracy) and metric.resampled:
        models = [(weight, cell.resampled.get(metric.key, {})) for weight, cell in terms]
        return paired_contrast(models, resampling)
    values = [(weight, [*cell.values(metric).values()]) for weight, cell in terms]
    return range_contrast(values) if all(figures for _, figures in values) else None


def paired_contrast(
    terms: Sequence[tuple[float, BySeed]], resampling: Resampling
) -> Contrast | None:
    """A weighted sum of resampled cells; None where `why_unpaired` has a reason."""
    if why_unpaired([cell for _, cell in terms]) is not None:
        return None
    seeds = shared_seeds([cell for _, cell in terms])
    values = [sum(weight * cell[seed].value for weight, cell in terms) for seed in seeds]
    of_seeds = [sum(weight * cell[seed].replicates for weight, cell in terms) for seed in seeds]
    replicates = np.stack(of_seeds).mean(axis=0)  # (S, B) -> (B,)
    over_images = _middle(replicates)
    covers: Covers = "images"
    if len(seeds) > 1:
        error = statistics.stdev(values) / len(seeds) ** 0.5
        replicates = replicates + error * resampling.shifts(len(seeds))
        covers = "images and seeds"
    return Contrast(
        statistics.fmean(values),
        _middle(replicates),
        over_images,
        _two_sided(replicates),
        covers,
        len(seeds),
    )


def shared_seeds(cells: Sequence[BySeed]) -> list[int]:
    """The seeds that all of `cells` have been scored for, ascending."""
    return sorted(set.intersection(*(set(cell) for cell in cells)))


def why_unpaired(cells: Sequence[BySeed]) -> str | None:
    """Why cells cannot be compared image by image and seed by seed; None if they can."""
    if not shared_seeds(cells):
        return "no seed has been scored for all of them"
    if len({model.image_ids for cell in cells for model in cell.values()}) > 1:
        return "they were scored on different images"
    return None


def range_contrast(terms: Sequence[tuple[float, Sequence[float]]]) -> Contrast:
    """A weighted sum of figures that are not resampled: of their means, within their ranges."""
    ends = [sorted((weight * min(v), weight * max(v))) for weight, v in terms]
    return Contrast(
        mean=sum(weight * statistics.fmean(values) for weight, values in terms),
        interval=Interval(sum(low for low, _ in ends), sum(high for _, high in ends)),
        over_images=None,
        p=None,
        covers="seeds",
        seeds=min(len(values) for _, values in terms),
    )


def _middle(replicates: Floats) -> Interval:
    low, high = np.nanpercentile(replicates, (2.5, 97.5)).tolist()
    return Interval(low, high)


def _two_sided(replicates: Floats) -> float:
    known = replicates[~np.isnan(replicates)]
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(known)))
