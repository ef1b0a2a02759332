"""The recipe is frozen, knows its keys, and says what it refuses."""

from typing import get_args

import pytest
from pydantic import ValidationError

from mimdet_cli.recipe.schema import OPTIMIZER_OPTIONS, Optimizer, Recipe, Train


def test_default_recipe_is_valid_and_frozen():
    recipe = Recipe()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3


def test_recipe_has_one_length():
    assert Train(steps=3).epochs is None
    for lengths in ({}, {"steps": 3, "epochs": 1}):
        with pytest.raises(ValidationError, match=r"one of train\.epochs and train\.steps"):
            Train(**lengths)


def test_batch_must_divide_into_its_parts():
    with pytest.raises(ValidationError, match="64 is not divisible by"):
        Train(steps=1, accumulate=3)


def test_backbone_section_stays_open_for_the_options_of_any_backbone():
    recipe = Recipe.model_validate({"backbone": {"name": "swin", "window": 7}})
    assert recipe.backbone.values == {"window": 7}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "sgd", "eps": 1e-6},
            "optimizer.eps applies to adamw only, but optimizer.name is sgd; remove it, or set "
            "optimizer.eps to 1e-08 if a base recipe sets it",
        ),
        (
            {"name": "sgd", "betas": (0.8, 0.9), "eps": 1e-6, "momentum": 0.5},
            "optimizer.betas and optimizer.eps apply to adamw only, but optimizer.name is sgd; "
            "remove them, or set optimizer.betas to [0.9, 0.999] and optimizer.eps to 1e-08 "
            "if a base recipe sets them",
        ),
        (
            {"momentum": 0.95},
            "optimizer.momentum applies to sgd only, but optimizer.name is adamw; remove it, or "
            "set optimizer.momentum to 0.9 if a base recipe sets it",
        ),
    ],
)
def test_options_of_another_optimizer_are_refused(given, message):
    with pytest.raises(ValidationError) as caught:
        Optimizer(**given)
    assert [str(error["ctx"]["error"]) for error in caught.value.errors()] == [message]


def test_optimizer_takes_its_own_options_and_the_defaults_of_the_others():
    every = Optimizer().model_dump()
    assert len(OPTIMIZER_OPTIONS) >= 2
    for name in OPTIMIZER_OPTIONS:
        assert Optimizer(**every | {"name": name}).name == name
    assert Optimizer(name="sgd", momentum=0).momentum == 0
    assert Optimizer(betas=(0.9, 0.95), eps=1e-6).eps == 1e-6


def test_every_option_of_one_optimizer_is_a_field_and_every_optimizer_has_a_row():
    names = {name for names in OPTIMIZER_OPTIONS.values() for name in names}
    assert len(names) >= 3
    assert names <= Optimizer.model_fields.keys()
    assert OPTIMIZER_OPTIONS.keys() == set(get_args(Optimizer.model_fields["name"].annotation))
