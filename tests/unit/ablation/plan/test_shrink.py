"""`--base`: another base, tiny backbones, lengths in proportion, and what is left out."""

import pytest

from mimdet_cli.ablation.definition import Request, shipped_ablations
from mimdet_cli.ablation.plan.make import make_plan
from mimdet_cli.ablation.plan.shrink import NO_WEIGHTS
from mimdet_cli.errors import RecipeError

ONLY_WEIGHTS = {"decoder-init", "mae-family", "pretraining"}
"""Ablations most of whose trainings differ in their weights alone."""


def shrunk(name, tmp_path, **changes):
    return make_plan(Request(name, base="demo", out=tmp_path, **changes))


def training(plan, label):
    return next(run.recipe.recipe for run in plan.runs if run.label == label)


def test_every_shipped_ablation_shrinks_to_the_demo_base(tmp_path):
    plans = {name: shrunk(name, tmp_path) for name in {*shipped_ablations()} - ONLY_WEIGHTS}
    assert len(plans) >= 13
    for name, plan in plans.items():
        assert len(plan.cells) >= 2, name
        for reason in plan.left_out.values():
            assert reason == NO_WEIGHTS or reason.endswith("has no tiny size")
    for plan in plans.values():
        for run in plan.runs:
            recipe = run.recipe.recipe
            assert (recipe.train.batch, recipe.data.eval_short_side) == (8, 128)
            assert recipe.init.weights is None


def test_ablation_of_weights_alone_is_refused_with_the_reason(write, tmp_path):
    name = write("variants: {a: {init.weights: mae-base}, b: {init.more: [{weights: x}]}}")
    with pytest.raises(RecipeError) as caught:
        make_plan(Request(name, base="demo", out=tmp_path))
    assert caught.value.what == "no cell of 'mine' can be run from the base 'demo'."
    assert caught.value.where == f"'a': {NO_WEIGHTS}; 'b': {NO_WEIGHTS}"


def test_weights_that_the_command_line_takes_away_are_not_missed(tmp_path):
    plan = shrunk("mae-family", tmp_path, overrides=("init.weights=null",))
    assert plan.left_out == {}
    assert len(plan.cells) == 2
    assert len(plan.runs) == 3  # the two trainings are one, from three seeds


def test_backbone_of_the_ablation_replaces_that_of_the_base(tmp_path):
    plan = shrunk("interactions", tmp_path)
    backbones = [run.recipe.recipe.backbone for run in plan.runs[:5]]
    assert {one.name for one in backbones} == {"vit_adapter"}
    assert [one.values["interactions"] for one in backbones] == [0, 1, 2, 4, 6]
    assert backbones[0].values["width"] < 384


def test_base_of_the_same_backbone_stays_as_it_is(tmp_path):
    options = training(shrunk("decoder-layers", tmp_path), "decoder_layers=4").backbone.values
    assert (options["width"], options["fill"]) == (192, "mask")


def test_length_stays_in_proportion(tmp_path):
    plan = shrunk("full-set-finetune", tmp_path)
    tuned = training(plan, "50% rand + full set").train
    assert (tuned.steps, tuned.epochs) == (100, None)  # 6 of 36 epochs are a sixth of 600 steps


def test_what_starts_from_something_left_out_is_left_out(write, tmp_path):
    name = write("""
        variants:
          plain: {}
          start: {init.weights: mae-base}
          tuned: {after: start}
    """)
    plan = make_plan(Request(name, base="demo", out=tmp_path))
    assert [cell.label for cell in plan.cells] == ["plain"]
    assert plan.left_out == {
        "start": NO_WEIGHTS,
        "tuned": "'start', which it starts from, is left out",
    }


def test_images_fit_the_square_that_a_backbone_pads_to(write, tmp_path):
    name = write("variants: {other: {recipe: vitdet_base_100ep}}")
    recipe = training(make_plan(Request(name, base="demo", out=tmp_path)), "other")
    square = recipe.backbone.values["square"]
    if square is not None:
        assert (recipe.data.max_side, recipe.data.eval_max_side) == (square, square)


def test_base_with_weights_is_taken_at_its_full_size(tmp_path):
    base = tmp_path / "other.yaml"
    base.write_text("extends: base_50pct\ntrain: {batch: 16}\n")
    plan = make_plan(Request("mae-family", base=str(base), out=tmp_path))
    assert plan.left_out == {}
    recipe = training(plan, "normalised pixels")
    assert (recipe.train.batch, recipe.init.weights) == (16, "mae-base-full")


def test_mistake_in_set_is_refused_even_at_tiny_size(tmp_path):
    with pytest.raises(RecipeError, match=r"'optimizer\.lrr' is not a recipe key"):
        shrunk("decoder-layers", tmp_path, overrides=("optimizer.lrr=1",))


def test_plan_of_the_demo_needs_no_data_yet(tmp_path):
    plan = shrunk("decoder-input", tmp_path)
    assert plan.data == "demo 1"
    assert plan.runs[0].recipe.recipe.data.root == str(tmp_path / "data")
    assert not (tmp_path / "data").exists()
