"""Recipes given from Python resolve as their files do, and say what is wrong with a value."""

from pathlib import Path

import numpy as np
import pytest

from mimdet_cli.build import complete
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.recipe.from_python import resolve_recipe
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.recipe.schema import Recipe


def test_name_file_dictionary_and_object_give_the_same_recipe(tmp_path):
    file = tmp_path / "demo.yaml"
    file.write_text("extends: demo\ntrain: {batch: 4}\n")
    expected = load_recipe(file).recipe
    assert resolve_recipe(file).recipe == expected
    assert resolve_recipe("demo", {"train.batch": 4}).recipe == expected
    of_values = resolve_recipe({"extends": "demo", "name": "demo", "train": {"batch": 4}})
    assert of_values.recipe == expected
    assert resolve_recipe(expected).recipe == expected


def test_dictionary_without_extends_starts_from_the_defaults():
    recipe = resolve_recipe({"train": {"steps": 5, "epochs": None}, "data": {"short_side": (64,)}})
    assert recipe.recipe == Recipe.model_validate(
        {"train": {"steps": 5, "epochs": None}, "data": {"short_side": (64,)}}
    )


def test_paths_and_scalars_are_taken_as_a_file_would_say_them(tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text("extends: demo\n")
    given = {
        "extends": file,
        "init": {"checkpoint": tmp_path},
        "optimizer": {"lr": np.float64(0.5)},
    }
    recipe = resolve_recipe({**given, "init.weights": None}).recipe
    assert (recipe.init.checkpoint, recipe.optimizer.lr) == (str(tmp_path), 0.5)


def test_a_wrong_option_in_a_recipe_object_is_reported_as_given():
    recipe = Recipe.model_validate({"backbone": {"name": "mimdet", "widht": 8}})
    with pytest.raises(RecipeError, match="at: the recipe given"):
        complete(resolve_recipe(recipe))


def test_data_and_seed_stand_above_overrides():
    recipe = resolve_recipe("demo", {"seed": 1, "data.root": "a"}, data=Path("b"), seed=2).recipe
    assert (recipe.seed, recipe.data.root) == (2, "b")


def test_later_bases_and_own_values_win():
    recipe = resolve_recipe(
        {"extends": ["vitdet_base_100ep", "base_50pct"], "data": {"crop": None}}
    ).recipe
    base = load_recipe("base_50pct").recipe
    assert (recipe.data.crop, recipe.train.epochs) == (None, base.train.epochs)
    assert recipe.data.jitter is not None  # of the first alone


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        (
            {"trian": {"batch": 4}},
            None,
            "'trian' is not a recipe key.; at: the recipe given; fix: did you mean 'train'?",
        ),
        (
            "demo",
            {"train.batch": "many"},
            "'train.batch' cannot be 'many'.; at: overrides; "
            "fix: give a whole number of at least 1.",
        ),
        (
            "demo",
            {"data": {"root": {1, 2}}},
            "the value of 'data.root' cannot be in a recipe: it is of type set.; at: overrides; "
            "fix: use numbers, text, True, False, None, paths, lists and dictionaries.",
        ),
        (
            {"extends": 3},
            None,
            "'extends' must be a recipe name or a list of names.; at: the recipe given; "
            "fix: give a name, such as {'extends': 'base_50pct'}.",
        ),
        (
            7,
            None,
            "a recipe cannot be of type int.; fix: give a name, a file, a dictionary or a Recipe.",
        ),
    ],
)
def test_wrong_value_is_named_with_its_place(recipe, overrides, message):
    with pytest.raises(RecipeError) as raised:
        resolve_recipe(recipe, overrides)
    assert str(raised.value) == message


def test_all_mistakes_are_reported_together():
    with pytest.raises(MimdetError) as raised:
        resolve_recipe("demo", {"train.batch": 0, "seed": -1, "hed": {}})
    assert len(raised.value.each()) == 3
