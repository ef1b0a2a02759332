"""`--set key=value` is typed as the recipe file would be."""

import pytest

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.recipe.overrides import parse_override, parse_overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.batch=8", "train.batch", 8),
        ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
        ("optimizer.lr=8.0e-5", "optimizer.lr", 8e-5),
        ("init.weights=null", "init.weights", None),
        ("init.weights=a=b.pth", "init.weights", "a=b.pth"),
        ("data.short_side=[480, 640]", "data.short_side", [480, 640]),
        ("head.mask=false", "head.mask", False),
        ("data.crop={probability: 0.3}", "data.crop", {"probability": 0.3}),
        ("name='2026-01-02'", "name", "2026-01-02"),
        ("name=2026-01-02", "name", "2026-01-02"),
        (" seed = 3 ", "seed", 3),
    ],
)
def test_value_is_typed_by_yaml(text, key, value):
    override = parse_override(text)
    assert (override.key, override.value) == (key, value)
    assert type(override.value) is type(value)


def test_later_override_wins():
    resolved = load_recipe("demo", ["train.batch=2", "train.batch=4"])
    assert resolved.recipe.train.batch == 4
    assert str(resolved.origin("train.batch")) == "--set train.batch=4"


def test_override_reaches_into_a_section_that_was_null():
    crop = load_recipe("demo", ["data.crop.probability=0.3"]).recipe.data.crop
    assert crop is not None
    assert crop.probability == 0.3


def test_every_unreadable_override_is_reported():
    with pytest.raises(RecipeError) as caught:
        parse_overrides(["seed", "=3", "a..b=3", "x=", "y=[1", "seed=3"])
    assert [(error.what, error.where) for error in caught.value.each()] == [
        ("'seed' is not of the form key=value.", "--set seed"),
        ("'=3' is not of the form key=value.", "--set =3"),
        ("'a..b=3' is not of the form key=value.", "--set a..b=3"),
        ("'x' has no value.", "--set x="),
        ("the value of 'y' is not valid YAML.", "--set y=[1"),
    ]
