import numpy as np
import pytest

from mimdet_cli.ablation.definition import Claim
from mimdet_cli.ablation.judge.claims import judge
from mimdet_cli.ablation.judge.statistics import CellFigures, Resampled, Resampling

RESAMPLING = Resampling(resamples=1000)
IDS = tuple(range(50))


def ap(value: float, noise: float = 0.0, key: int = 0, ids=IDS) -> Resampled:
    """A model whose AP moves by `noise` from one image set to another."""
    moves = np.random.default_rng(key).normal(0, 1, RESAMPLING.resamples)
    return Resampled(value, value + noise * moves, ids)


def table(noise: float = 0.0, **values: float) -> dict[str, CellFigures]:
    return {
        name: CellFigures(resampled={"box_ap": {0: ap(value, noise, key)}})
        for key, (name, value) in enumerate(values.items())
    }


def costs(metric: str, **values: list[float]) -> dict[str, CellFigures]:
    return {
        name: CellFigures(plain={metric: dict(enumerate(seeds))}) for name, seeds in values.items()
    }


def claim(rule: dict, metric: str = "box_ap") -> Claim:
    return Claim.model_validate({"says": "It is so.", "metric": metric, "rule": rule})


def verdict(rule: dict, cells: dict, metric: str = "box_ap") -> str:
    return judge(claim(rule, metric), cells, RESAMPLING).judgement


HIGHER = {"kind": "higher", "cell": "a", "than": "b", "by": 1.0}
NOT_LOWER = {"kind": "not_lower", "cell": "a", "than": "b", "by": 1.0}
RISES = {"kind": "rises", "cells": ["a", "b", "c"]}
FALLS = {"kind": "falls", "cells": ["a", "b", "c"]}
SATURATES = {"kind": "saturates", "cells": ["a", "b", "c", "d"]}


@pytest.mark.parametrize(
    ("rule", "values", "noise", "expected"),
    [
        (HIGHER, {"a": 42, "b": 40}, 0.1, "holds"),
        (HIGHER, {"a": 40.5, "b": 40}, 0.1, "fails"),
        (HIGHER, {"a": 41, "b": 40}, 0.0, "fails"),
        (HIGHER, {"a": 42, "b": 40}, 2.0, "undecided"),
        (NOT_LOWER, {"a": 39.5, "b": 40}, 0.1, "holds"),
        (NOT_LOWER, {"a": 45, "b": 40}, 0.1, "holds"),
        (NOT_LOWER, {"a": 38, "b": 40}, 0.1, "fails"),
        (NOT_LOWER, {"a": 39, "b": 40}, 0.0, "fails"),
        (NOT_LOWER, {"a": 39.5, "b": 40}, 2.0, "undecided"),
        (RISES, {"a": 1, "b": 2, "c": 3}, 0.1, "holds"),
        (RISES, {"a": 1, "b": 3, "c": 2}, 0.1, "fails"),
        (RISES, {"a": 1, "b": 1, "c": 2}, 0.0, "fails"),
        (RISES, {"a": 1, "b": 5, "c": 5.1}, 0.5, "undecided"),
        (FALLS, {"a": 3, "b": 2, "c": 1}, 0.1, "holds"),
        (FALLS, {"a": 3, "b": 1, "c": 2}, 0.1, "fails"),
        (FALLS, {"a": 9, "b": 5.1, "c": 5}, 0.5, "undecided"),
        (SATURATES, {"a": 1, "b": 5, "c": 6, "d": 6.5}, 0.1, "holds"),
        (SATURATES, {"a": 1, "b": 2, "c": 3, "d": 9}, 0.1, "fails"),
        (SATURATES, {"a": 1, "b": 2, "c": 3, "d": 4.1}, 0.5, "undecided"),
    ],
)
def test_ap_is_judged_by_the_whole_paired_interval(rule, values, noise, expected):
    assert verdict(rule, table(noise, **values)) == expected


def test_three_cells_saturate_too():
    rule = {"kind": "saturates", "cells": ["a", "b", "c"]}
    assert verdict(rule, table(a=1, b=5, c=6)) == "holds"
    assert verdict(rule, table(a=1, b=2, c=6)) == "fails"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": [30.0, 31.0], "b": [20.0, 22.0], "c": [10.0, 12.0]}, "holds"),
        ({"a": [30.0, 31.0], "b": [20.0, 32.0], "c": [10.0, 12.0]}, "undecided"),
        ({"a": [30.0, 31.0], "b": [40.0, 42.0], "c": [10.0, 12.0]}, "fails"),
        ({"a": [3.0], "b": [2.0], "c": [1.0]}, "holds"),
    ],
)
def test_cost_is_judged_by_its_range_over_seeds(values, expected):
    assert verdict(FALLS, costs("train_s", **values), "train_s") == expected


@pytest.mark.parametrize("metric", ["parameters", "gmacs"])
def test_exact_cost_is_never_undecided(metric):
    cells = costs(metric, a=[7.0, 7.0], b=[7.0, 7.0])
    assert verdict({**HIGHER, "by": 0.0}, cells, metric) == "fails"
    assert verdict(NOT_LOWER, cells, metric) == "holds"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": [42.0, 43.0], "b": [40.0, 40.5]}, "holds"),
        ({"a": [41.0, 43.0], "b": [40.0, 40.5]}, "undecided"),
        ({"a": [40.0, 40.5], "b": [40.0, 40.5]}, "fails"),
    ],
)
def test_accuracy_that_is_not_resampled_is_judged_by_its_range_over_seeds(values, expected):
    assert verdict(HIGHER, costs("box_ap_s", **values), "box_ap_s") == expected


def test_accuracy_that_is_not_resampled_is_not_judged_from_one_seed():
    found = judge(
        claim(HIGHER, "mask_ap50"), costs("mask_ap50", a=[50.0], b=[1.0, 2.0]), RESAMPLING
    )
    assert found.judgement == "undecided"
    assert found.numbers == "mask AP50 is not resampled over images and has one seed of a."


def test_numbers_of_an_accuracy_that_is_not_resampled_are_reported_with_their_range():
    found = judge(
        claim(HIGHER, "box_ap50"), costs("box_ap50", a=[60.0, 61.0], b=[58, 58]), RESAMPLING
    )
    assert found.numbers == (
        "box AP50 a: 60.5 (60.0 to 61.0); b: 58.0. "
        "difference +2.5 [+2.0, +3.0] (range over seeds), margin +1.0."
    )


def test_numbers_of_ap_are_reported_in_a_sentence():
    cells = {
        "a": CellFigures(resampled={"box_ap": {0: ap(42.4), 1: ap(42.6)}}),
        "b": CellFigures(resampled={"box_ap": {0: ap(40), 1: ap(40)}}),
    }
    found = judge(claim(HIGHER), cells, RESAMPLING)
    assert found.claim.says == "It is so."
    assert found.judgement == "holds"
    assert found.numbers == (
        "box AP a: 42.5 (42.4 to 42.6); b: 40.0. "
        "difference +2.5 [+1.3, +3.7] (95 % over images and seeds, 2 seeds; p 0.028), margin +1.0."
    )
    one = {
        name: CellFigures(resampled={"box_ap": {0: ap(40, 0.2, key)}})
        for key, name in enumerate("ab")
    }
    assert judge(claim(NOT_LOWER), one, RESAMPLING).numbers == (
        "box AP a: 40.0; b: 40.0. "
        "difference +0.0 [-0.5, +0.5] (95 % over images, 1 seed; p 0.98), margin -1.0."
    )


def test_numbers_of_costs_are_reported_in_their_unit():
    cells = costs("peak_memory_gb", a=[3.0], b=[2.0], c=[1.5])
    assert judge(claim(FALLS, "peak_memory_gb"), cells, RESAMPLING).numbers == (
        "peak memory a: 3.00 GB; b: 2.00 GB; c: 1.50 GB. "
        "fall to b +1.00 GB (1 seed); fall to c +0.50 GB (1 seed)."
    )
    cells = costs("train_s", a=[30.0, 32.0], b=[20.0, 20.0])
    rule = {"kind": "falls", "cells": ["a", "b"]}
    assert judge(claim(rule, "train_s"), cells, RESAMPLING).numbers == (
        "training time a: 31 s (30 s to 32 s); b: 20 s. "
        "fall to b +11 s [+10 s, +12 s] (range over seeds)."
    )
    cells = costs("parameters", a=[1_000_000.0], b=[900_000.0])
    assert judge(claim(rule, "parameters"), cells, RESAMPLING).numbers == (
        "parameters a: 1,000,000; b: 900,000. fall to b +100,000."
    )


@pytest.mark.parametrize(
    ("cells", "metric", "reason"),
    [
        (table(b=1), "box_ap", "not run: a, c."),
        (table(a=1, b=2, c=3), "mask_ap", "no mask AP of a, b, c."),
        (costs("step_s", a=[1.0], b=[1.0], c=[]), "step_s", "no step time of c."),
        (
            table(a=1, b=2) | {"c": CellFigures(resampled={"box_ap": {0: ap(1, ids=(1, 2))}})},
            "box_ap",
            "the cells cannot be compared: they were scored on different images.",
        ),
        (
            table(a=1, b=2) | {"c": CellFigures(resampled={"box_ap": {5: ap(1)}})},
            "box_ap",
            "the cells cannot be compared: no seed has been scored for all of them.",
        ),
    ],
)
def test_claim_is_undecided_with_the_reason_as_long_as_something_is_missing(cells, metric, reason):
    found = judge(claim(RISES, metric), cells, RESAMPLING)
    assert (found.judgement, found.numbers) == ("undecided", reason)
