"""The shipped recipes' parameter groups and schedules against those of the released code.

The tables hold a learning rate and a weight decay for every parameter, and the schedule's factor at
chosen steps. Rates are compared to 1e-6: the tables were computed in another order of factors.
"""

import pytest
import torch
from detectors import completed, shapes_of
from golden import table

from backbones.key_maps.rename import KeyMap, rename
from heads.key_maps import HEADS
from mimdet_cli.engine.optim import rates
from mimdet_cli.engine.schedule import Schedule, scaled_lr, total_steps
from mimdet_cli.recipe.load import load_recipe

RELEASED = {
    "base_50pct": ("mimdet_base", "mimdet_release"),
    "large_50pct": ("mimdet_large", "mimdet_release"),
    "vitdet_base_100ep": ("vitdet_b", "detectron2_vitdet"),
    "vitdet_large_100ep": ("vitdet_l", "detectron2_vitdet"),
    "vit_fpn_base_100ep": ("li2021_b", "li2021_release"),
}
ADAPTERS = ["vit_adapter_tiny_3x", "vit_adapter_small_1x", "vit_adapter_base_3x"]
LARGE_ADAPTERS = ["vit_adapter_large_1x", "vit_adapter_large_3x"]
COCO_TRAIN_IMAGES = 117_266
HEAD_NAMES = {"vit_adapter_release": "mmdet"}


def built(recipe):
    """The recipe, complete, and its detector without memory."""
    full = completed(recipe)
    return full, shapes_of(full)


def by_our_names(detector, layout, values):
    """A table of the release under our parameter names; every one of its names has its place."""
    rules = detector.backbone.key_maps[layout].rules
    head = HEADS[HEAD_NAMES.get(layout, "detectron2")]
    found = rename(dict.fromkeys(values, torch.zeros(0)), KeyMap({**rules, **head}))
    assert not found.unknown
    assert not found.dropped
    return {ours: values[theirs] for ours, (theirs,) in found.sources.items()}


def rates_of(recipe, detector):
    return {rate.name: rate for rate in rates(detector, recipe.optimizer)}


@pytest.mark.parametrize("recipe", RELEASED)
def test_every_parameter_learns_and_decays_as_released(recipe):
    name, layout = RELEASED[recipe]
    loaded, detector = built(recipe)
    official = table("mimdet_vitdet/optim_groups.json")[name]
    theirs = by_our_names(detector, layout, official)
    ours = rates_of(loaded, detector)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 200
    for key, (lr, decay) in theirs.items():
        assert ours[key].factor * scaled_lr(loaded) == pytest.approx(lr, rel=1e-6), key
        assert ours[key].weight_decay == pytest.approx(decay, rel=1e-6), key


@pytest.mark.parametrize("recipe", RELEASED)
def test_the_schedule_is_the_released_one(recipe):
    name, _ = RELEASED[recipe]
    loaded = load_recipe(recipe).recipe
    official = table("mimdet_vitdet/lr_multipliers.json")[name]
    steps = total_steps(loaded, COCO_TRAIN_IMAGES)
    assert (steps, loaded.train.batch) == (official["max_iter"], official["batch"])
    schedule = Schedule.of(loaded, steps)
    assert len(official["multiplier"]) >= 15
    for step, factor in official["multiplier"].items():
        assert schedule(int(step)) == pytest.approx(factor, rel=1e-6, abs=1e-12), step


@pytest.mark.parametrize("recipe", ADAPTERS)
def test_adapters_up_to_base_decay_the_vectors_that_the_release_decays(recipe):
    loaded, detector = built(recipe)
    ours = rates_of(loaded, detector)
    vectors = [name for name, p in detector.named_parameters() if p.ndim == 1]
    official = table("vit_adapter/optim_groups.json")["S_custom_keys_decayed_1d"]
    theirs = by_our_names(detector, "vit_adapter_release", dict.fromkeys(official))
    assert {name for name in vectors if ours[name].weight_decay} == theirs.keys()
    assert {rate.weight_decay for rate in ours.values()} == {0.0, 0.05}
    assert {rate.factor for rate in ours.values()} == {1.0}
    assert scaled_lr(loaded) == 1e-4


@pytest.mark.parametrize("recipe", LARGE_ADAPTERS)
def test_large_adapter_has_the_released_layer_decay(recipe):
    loaded, detector = built(recipe)
    ours = rates_of(loaded, detector)
    tables = table("vit_adapter/optim_groups.json")
    selected = by_our_names(detector, "vit_adapter_release", tables["L_selected"])
    assert len(selected) >= 20
    for key, (factor, decay, _) in selected.items():
        assert ours[key].factor == pytest.approx(factor, rel=1e-6), key
        assert ours[key].weight_decay == decay, key


@pytest.mark.parametrize("recipe", LARGE_ADAPTERS)
def test_large_adapter_has_as_many_parameters_of_each_rate_as_released(recipe):
    loaded, detector = built(recipe)
    tables = table("vit_adapter/optim_groups.json")
    # of pyramid and head the table holds one layer each, those that it also lists by name
    named = by_our_names(detector, "vit_adapter_release", tables["L_selected"])
    apart = ("rpn.", "roi_heads.", "backbone.neck.")
    counted: dict[tuple[float, float], int] = {}
    for rate in rates(detector, loaded.optimizer):
        if rate.name in named or not rate.name.startswith(apart):
            key = (round(rate.factor, 8), rate.weight_decay)
            counted[key] = counted.get(key, 0) + 1
    summary = tables["L_layer_decay_0.8_summary"]
    assert counted == {tuple(map(float, key.split("|"))): n for key, n in summary.items()}


@pytest.mark.parametrize("recipe", ADAPTERS + LARGE_ADAPTERS)
def test_adapters_follow_mmdetections_schedule(recipe):
    """Its 1x is 12 epochs with drops after 8 and 11, its 3x 36 with drops after 27 and 33."""
    loaded = load_recipe(recipe).recipe
    epochs, drops = (12, (8, 11)) if recipe.endswith("1x") else (36, (27, 33))
    assert loaded.train.batch == 16
    steps = total_steps(loaded, COCO_TRAIN_IMAGES)
    assert steps == round(epochs * COCO_TRAIN_IMAGES / 16)
    schedule = Schedule.of(loaded, steps)
    assert [schedule(step) for step in (0, 250, 500)] == pytest.approx([1e-3, 0.5005, 1.0])
    for number, drop in enumerate(drops):
        end = drop * COCO_TRAIN_IMAGES / 16  # half a step may fall on either side of an epoch's end
        assert schedule(end - 1) == pytest.approx(0.1**number)
        assert schedule(end + 1) == pytest.approx(0.1 ** (number + 1))
