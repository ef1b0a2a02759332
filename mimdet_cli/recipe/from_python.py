"""Recipes from Python: a name, a file, a dictionary or a `Recipe`, with overrides."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import (
    Draft,
    ResolvedRecipe,
    merge,
    read_recipe,
    validate,
    with_overrides,
)
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin, flatten
from mimdet_cli.recipe.schema import Recipe

RecipeLike = Recipe | Mapping[str, Any] | str | Path
"""A dictionary has the sections of a recipe file, including `extends`."""
RECIPE: Final = Origin("the recipe given")
OVERRIDES: Final = Origin("overrides")


def resolve_recipe(
    recipe: RecipeLike,
    overrides: Mapping[str, Any] | None = None,
    *,
    data: str | Path | None = None,
    seed: int | None = None,
) -> ResolvedRecipe:
    """The recipe with `overrides` (values by dotted key), then `data` and `seed`, applied."""
    layers = changes(overrides)
    if data is not None:
        layers.append(Override("data.root", str(data), Origin("data")))
    if seed is not None:
        layers.append(_plain("seed", seed, Origin("seed")))
    return validate(with_overrides(_draft(recipe), layers))


def changes(overrides: Mapping[str, Any] | None) -> list[Override]:
    """Values by dotted key, or in nested sections, as overrides."""
    return _layers(overrides or {}, OVERRIDES)


def _draft(recipe: RecipeLike) -> Draft:
    if isinstance(recipe, Recipe):
        values = recipe.model_dump(mode="json")
        return Draft(values, dict.fromkeys(values, RECIPE), Path(recipe.name))
    if isinstance(recipe, Mapping):
        return _from_mapping(recipe)
    if isinstance(recipe, str | Path):
        return read_recipe(recipe)
    raise RecipeError(
        f"a recipe cannot be of type {type(recipe).__name__}.",
        fix="give a name, a file, a dictionary or a Recipe.",
    )


def _from_mapping(values: Mapping[str, Any]) -> Draft:
    """A dictionary merged over the recipes that it extends."""
    own = dict(values)
    extends = own.pop("extends", [])
    draft = Draft({}, {}, Path("recipe"))
    for base in extends if isinstance(extends, list | tuple) else [extends]:
        if not isinstance(base, str | Path):
            raise RecipeError(
                "'extends' must be a recipe name or a list of names.",
                where=str(RECIPE),
                fix="give a name, such as {'extends': 'base_50pct'}.",
            )
        draft = merge(draft, read_recipe(base))
    return with_overrides(draft, _layers(own, RECIPE))


def _layers(values: Mapping[str, Any], origin: Origin) -> list[Override]:
    if not isinstance(values, Mapping):
        raise RecipeError(
            f"expected a dictionary of keys and values, not {type(values).__name__}.",
            where=str(origin),
            fix="give a dictionary, such as {'train.batch': 8}.",
        )
    return [_plain(str(key), value, origin) for key, value in flatten(values)]


def _plain(key: str, value: Any, origin: Origin) -> Override:
    """An override with the value converted to plain JSON types, or an error."""
    try:
        text = json.dumps(value, allow_nan=False, default=_as_json)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"the value of '{key}' cannot be in a recipe: {error}.",
            where=str(origin),
            fix="use numbers, text, True, False, None, paths, lists and dictionaries.",
        ) from error
    return Override(key, json.loads(text), origin)


def _as_json(value: Any) -> Any:
    """Paths as text, numpy and torch scalars as Python numbers."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    raise TypeError(f"it is of type {type(value).__name__}")
