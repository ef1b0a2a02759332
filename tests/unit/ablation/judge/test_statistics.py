import numpy as np
import pytest

from mimdet_cli.ablation.judge import statistics
from mimdet_cli.ablation.judge.statistics import (
    CellFigures,
    Resampled,
    Resampling,
    Spread,
    contrast,
    range_contrast,
    shared_seeds,
    why_unpaired,
)
from mimdet_cli.evaluation.bootstrap import match
from mimdet_cli.evaluation.metrics import BEST

RESAMPLING = Resampling(resamples=2000)
IMAGES = 80
IDS = tuple(range(IMAGES))


def of_images(figures: np.ndarray, ids: tuple[int, ...] = IDS) -> Resampled:
    """A model whose figure is the plain mean of one number per image."""
    counts = RESAMPLING.counts(len(figures))
    return Resampled(float(figures.mean()), counts @ figures / len(figures), ids)


def steady(value: float) -> Resampled:
    """A model that has the same AP on any images."""
    return Resampled(value, np.full(RESAMPLING.resamples, value), IDS)


def estimate(cell):
    return statistics.estimate(CellFigures({BEST.key: cell}), BEST)


def difference(cell, default, resampling):
    terms = [(weight, CellFigures({BEST.key: one})) for weight, one in ((1, cell), (-1, default))]
    return contrast(terms, BEST, resampling)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 10, IMAGES)


def test_resamples_hold_as_many_images_as_there_are_and_are_the_same_for_every_cell():
    counts = RESAMPLING.counts(IMAGES)
    assert counts.shape == (2000, IMAGES)
    assert (counts.sum(axis=1) == IMAGES).all()
    assert np.array_equal(counts, RESAMPLING.counts(IMAGES))
    assert not np.array_equal(counts, Resampling(2000, seed=1).counts(IMAGES))
    assert counts.mean(axis=0) == pytest.approx(np.ones(IMAGES), abs=0.15)  # 6 standard errors


def test_model_is_resampled_by_its_matches():
    content = {
        "images": [{"id": i, "height": 50, "width": 50} for i in (4, 2, 9)],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [
            {"image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20]} for i in (4, 2, 9)
        ],
    }
    box = {"category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.5}
    matches = match(content, [box | {"image_id": 2}], "bbox")
    found = Resampled.of(matches, Resampling(50))
    assert found.image_ids == (2, 4, 9)
    assert found.value == matches.ap
    assert found.replicates.tolist() == matches.resampled(Resampling(50).counts(3)).tolist()
    assert len(set(found.replicates.tolist())) > 1
    assert Resampled.of(match(content | {"annotations": []}, [], "bbox"), RESAMPLING) is None


def test_spread_over_seeds_is_shown_by_mean_median_ends_and_deviation():
    spread = Spread.of([1.0, 2.0, 6.0])
    assert (spread.mean, spread.median, spread.lowest, spread.highest) == (3, 2, 1, 6)
    assert spread.deviation == pytest.approx(7**0.5)
    assert Spread.of([4.0]).deviation is None


def test_interval_of_a_mean_is_that_of_its_standard_error():
    figures = noise(0)
    found = estimate({0: of_images(figures)})
    error = figures.std() / IMAGES**0.5
    assert found.spread.values == (figures.mean(),)
    # 2,000 resamples place an end of the interval within a tenth of a standard error
    assert found.interval.low == pytest.approx(figures.mean() - 1.96 * error, abs=0.2 * error)
    assert found.interval.high == pytest.approx(figures.mean() + 1.96 * error, abs=0.2 * error)


def test_interval_of_a_cell_is_over_images_and_averaged_over_seeds():
    one, other = noise(0), noise(1)
    both = estimate({0: of_images(one), 1: of_images(other)})
    mean = estimate({0: of_images((one + other) / 2)})
    assert (both.interval.low, both.interval.high) == pytest.approx(
        (mean.interval.low, mean.interval.high)
    )
    assert both.spread.values == (one.mean(), other.mean())
    assert estimate({}) is None


def test_cells_are_compared_on_the_same_resampled_images():
    figures = noise(0)
    better = of_images(figures + 1 + noise(1) / 100)
    found = difference({0: better}, {0: of_images(figures)}, RESAMPLING)
    assert found.mean == pytest.approx(1.5, abs=0.1)
    assert found.interval.high - found.interval.low < 0.1  # alone, each is known to +-2.2
    assert found.p == pytest.approx(2 / 2001)
    assert (found.covers, found.seeds) == ("images", 1)


def test_equal_cells_differ_by_nothing():
    cell = {0: of_images(noise(0)), 1: of_images(noise(1))}
    found = difference(cell, cell, RESAMPLING)
    assert (found.mean, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)


def test_p_value_is_small_as_often_as_it_says_where_there_is_no_difference():
    rng = np.random.default_rng(0)
    resampling = Resampling(resamples=400)
    counts = resampling.counts(IMAGES)

    def sampled() -> dict[int, Resampled]:
        figures = rng.normal(50, 10, IMAGES)
        return {0: Resampled(figures.mean(), counts @ figures / IMAGES, IDS)}

    found = [difference(sampled(), sampled(), resampling).p for _ in range(600)]
    # the standard error of the share is 0.009; a percentile interval of 80 images is a little short
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_seeds_that_disagree_widen_the_interval_of_a_difference_by_students_t():
    default = {seed: steady(40) for seed in range(4)}
    cell = {seed: steady(40 + gain) for seed, gain in enumerate([1.0, 2.0, 3.0, 6.0])}
    found = difference(cell, default, RESAMPLING)
    assert (found.covers, found.seeds, found.mean) == ("images and seeds", 4, 3.0)
    assert (found.over_images.low, found.over_images.high) == (3, 3)
    reach = 3.182 * np.std([1, 2, 3, 6], ddof=1) / 2  # t of 3 degrees of freedom, 97.5 %
    # quantiles of 400,000 replicates
    assert found.interval.low == pytest.approx(3 - reach, abs=0.02 * reach)
    assert found.interval.high == pytest.approx(3 + reach, abs=0.02 * reach)


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_are_found_different_as_rarely_as_the_p_value_says(seeds):
    rng = np.random.default_rng(0)
    default = {seed: steady(40) for seed in range(seeds)}

    def by_chance() -> float:
        cell = {seed: steady(40 + rng.normal(0, 2)) for seed in range(seeds)}
        return difference(cell, default, RESAMPLING).p

    share = np.mean([by_chance() < 0.05 for _ in range(600)])
    assert share == pytest.approx(0.05, abs=0.03)  # its standard error is 0.009


def test_spread_that_two_cells_of_a_seed_share_cancels():
    shifts = [0.0, 5.0, 9.0]
    default = {seed: steady(30 + by) for seed, by in enumerate(shifts)}
    cell = {seed: steady(31 + by) for seed, by in enumerate(shifts)}
    found = difference(cell, default, RESAMPLING)
    assert (found.interval.low, found.interval.high) == pytest.approx((1, 1))


def test_only_seeds_that_both_have_are_compared():
    found = difference({0: steady(5), 2: steady(9)}, {2: steady(8), 3: steady(0)}, RESAMPLING)
    assert (found.mean, found.covers, found.seeds) == (1, "images", 1)
    assert shared_seeds([{0: steady(1), 2: steady(1)}, {2: steady(1)}]) == [2]


def test_cells_without_a_shared_seed_or_of_other_images_are_not_paired():
    here = {0: of_images(noise(0))}
    there = {0: of_images(noise(0), tuple(range(1, IMAGES + 1)))}
    assert difference(here, there, RESAMPLING) is None
    assert why_unpaired([here, there]) == "they were scored on different images"
    assert difference(here, {1: steady(1)}, RESAMPLING) is None
    assert why_unpaired([here, {1: steady(1)}]) == "no seed has been scored for all of them"
    assert difference(here, {}, RESAMPLING) is None
    assert why_unpaired([here, here]) is None


def test_resamples_without_objects_are_left_out():
    replicates = np.array([np.nan, 1.0, 2.0, 3.0])
    cell = {0: Resampled(2.0, replicates, IDS)}
    found = difference(cell, {0: Resampled(0.0, replicates * 0, IDS)}, RESAMPLING)
    assert (found.mean, found.p) == (2, 2 * 1 / 4)
    assert 1 <= found.interval.low <= found.interval.high <= 3
    assert estimate(cell).interval == found.interval


def test_contrast_weighs_any_number_of_cells():
    cells = [{0: of_images(noise(i))} for i in range(3)]
    figures = [CellFigures({BEST.key: cell}) for cell in cells]
    found = contrast(list(zip((1, -2, 1), figures, strict=True)), BEST, RESAMPLING)
    alone = estimate({0: of_images(noise(0) - 2 * noise(1) + noise(2))})
    assert found.mean == pytest.approx(alone.spread.mean)
    assert found.interval.low == pytest.approx(alone.interval.low)


def test_costs_are_compared_between_the_extremes_of_their_seeds():
    found = range_contrast([(1, [10.0, 12.0]), (-1, [7.0, 8.0, 9.0])])
    assert (found.mean, found.interval.low, found.interval.high) == (3, 1, 5)
    assert (found.over_images, found.p, found.covers, found.seeds) == (None, None, "seeds", 2)
