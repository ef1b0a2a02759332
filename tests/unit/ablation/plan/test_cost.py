"""What is left is counted, and its time is known from the pace of the runs that are done."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from unit.conformance.wrong_backbones import SampledOptions

from mimdet_cli.ablation.plan.cost import cost_of, training_gmacs
from mimdet_cli.ablation.run.cell import run_cell
from mimdet_cli.console import Console
from mimdet_cli.recipe.load import ResolvedRecipe, with_options
from mimdet_cli.recipe.schema import Recipe

LENGTHS = """
    set: {train.log_every: 1}
    variants: {short: {train.steps: 2}, long: {train.steps: 200}}
"""


def test_work_is_counted_in_proportion_to_the_length(planned):
    plan = planned(LENGTHS, seeds=1)
    cost = cost_of(plan)
    short, long = (cost.left[run.hash] for run in plan.runs)
    assert (short.steps, long.steps) == (2, 200)
    assert long.images == 100 * short.images == 200 * plan.runs[0].recipe.recipe.train.batch
    assert 20 < long.gmacs / short.gmacs < 100  # evaluating four images costs the same in both
    found = cost.to_json()
    assert (found["steps"], found["images"]) == (202, short.images + long.images)
    assert found["gmacs"] == pytest.approx(short.gmacs + long.gmacs)
    assert found["seconds"] is None
    assert cost.line().startswith("left: 202 steps, ")
    assert "about" not in cost.line()


def test_finished_runs_set_the_pace(planned):
    plan = planned(LENGTHS.replace("200", "3"), seeds=2)
    record = run_cell(plan, plan.runs[0], device="cpu", progress=Console())
    cost = cost_of(plan)
    assert cost.line().endswith(" at the pace of 1 run in this folder")
    assert len(cost.left) == 3
    (scored,) = record["evaluations"].values()
    same = next(run for run in plan.runs[1:] if run.label == "short")
    seconds = {name: one["seconds"] for name, one in cost.to_json()["runs"].items()}
    assert seconds[same.hash] == pytest.approx(record["train_s"] + scored["eval_s"])
    assert cost.to_json()["seconds"] == pytest.approx(sum(seconds.values()))


def test_cost_of_full_size_recipes_is_counted_without_building_them(planned):
    (work,) = cost_of(planned("variants: {large: {recipe: large_50pct}}", seeds=1)).left.values()
    assert 0 < work.gmacs < 1e12


class WholeLater(SampledOptions):
    """Options that take only large shares in evaluation."""

    kept_later: Annotated[float, Field(ge=0.75, le=1)] = 1.0
    """Share of the cells in evaluation."""


def test_a_share_that_evaluation_does_not_take_leaves_the_cost_unknown():
    given = ResolvedRecipe(Recipe.model_validate({"backbone": {"name": "halves"}}), {}, Path("x"))
    assert training_gmacs(with_options(given, WholeLater()).recipe, classes=3) is None
