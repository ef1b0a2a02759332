"""What is left is predicted from what is done, or from multiply-accumulates, and says which."""

import pytest

from mimdet_cli.ablation.plan.cost import predict
from mimdet_cli.ablation.run.cell import run_cell
from mimdet_cli.console import Console

LENGTHS = """
    set: {train.log_every: 1}
    variants: {short: {train.steps: 2}, long: {train.steps: 200}}
"""


def test_without_a_finished_run_the_cost_is_a_guess_in_proportion_to_the_length(planned):
    plan = planned(LENGTHS, seeds=1)
    cost = predict(plan, "cpu")
    short, long = (cost.seconds[run.hash] for run in plan.runs)
    assert 20 < long / short < 100  # the evaluation of four images costs the same in both
    assert cost.total_s == pytest.approx(short + long)
    assert cost.basis.startswith("a guess from multiply-accumulates")
    assert cost.line().startswith("predicted: ")


def test_finished_runs_set_the_pace(planned):
    plan = planned(LENGTHS.replace("200", "3"), seeds=2)
    record = run_cell(plan, plan.runs[0], device="cpu", progress=Console())
    cost = predict(plan, "cpu")
    assert cost.basis == "at the pace of 1 run in this folder"
    assert len(cost.seconds) == 3
    (scored,) = record["evaluations"].values()
    same = next(run for run in plan.runs[1:] if run.label == "short")
    assert cost.seconds[same.hash] == pytest.approx(record["train_s"] + scored["eval_s"])


def test_cost_of_full_size_recipes_is_counted_without_building_them(planned):
    plan = planned("variants: {large: {recipe: large_50pct}}", seeds=1)
    assert 0 < predict(plan, "cpu").total_s < 1e9
