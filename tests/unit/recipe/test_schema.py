"""The recipe is frozen, knows its keys, and says what it refuses."""

import pytest
from pydantic import ValidationError

from mimdet_cli.recipe.schema import Recipe, Train


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
    with pytest.raises(ValidationError, match="64 does not divide by"):
        Train(steps=1, accumulate=3)


def test_backbone_section_stays_open_for_the_options_of_any_backbone():
    recipe = Recipe.model_validate({"backbone": {"name": "swin", "window": 7}})
    assert recipe.backbone.model_extra == {"window": 7}
