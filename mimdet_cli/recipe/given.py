"""A recipe given from Python: a name, a file, a dictionary, or a `Recipe`, with changed values."""

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
"""A dictionary has the sections of a recipe file, `extends` included."""
GIVEN: Final = Origin("the recipe given")
CHANGED: Final = Origin("overrides")


def resolve_recipe(
    recipe: RecipeLike,
    overrides: Mapping[str, Any] | None = None,
    *,
    data: str | Path | None = None,
    seed: int | None = None,
) -> ResolvedRecipe:
    """The recipe with `overrides`, values by dotted key, and then `data` and `seed` on top."""
    layers = changes(overrides)
    if data is not None:
        layers.append(Override("data.root", str(data), Origin("data")))
    if seed is not None:
        layers.append(_plain("seed", seed, Origin("seed")))
    return validate(with_overrides(_draft(recipe), layers))


def changes(overrides: Mapping[str, Any] | None) -> list[Override]:
    """Values by dotted key, or in sections, as changes of a recipe."""
    return _layers(overrides or {}, CHANGED)


def _draft(recipe: RecipeLike) -> Draft:
    if isinstance(recipe, Recipe):
        values = recipe.model_dump(mode="json")
        return Draft(values, dict.fromkeys(values, GIVEN), Path(recipe.name))
    if isinstance(recipe, Mapping):
        return _of_mapping(recipe)
    if isinstance(recipe, str | Path):
        return read_recipe(recipe)
    raise RecipeError(
        f"a recipe cannot be a value of type {type(recipe).__name__}.",
        fix="give a name, a file, a dictionary or a Recipe.",
    )


def _of_mapping(values: Mapping[str, Any]) -> Draft:
    """A dictionary on top of the recipes that it extends."""
    own = dict(values)
    extends = own.pop("extends", [])
    draft = Draft({}, {}, Path("recipe"))
    for base in extends if isinstance(extends, list | tuple) else [extends]:
        if not isinstance(base, str | Path):
            raise RecipeError(
                "'extends' is neither a recipe's name nor a list of them.",
                where=str(GIVEN),
                fix="write for example {'extends': 'base_50pct'}.",
            )
        draft = merge(draft, read_recipe(base))
    return with_overrides(draft, _layers(own, GIVEN))


def _layers(values: Mapping[str, Any], origin: Origin) -> list[Override]:
    if not isinstance(values, Mapping):
        raise RecipeError(
            f"a value of type {type(values).__name__} does not say which keys it changes.",
            where=str(origin),
            fix="give a dictionary, such as {'train.batch': 8}.",
        )
    return [_plain(str(key), value, origin) for key, value in flatten(values)]


def _plain(key: str, value: Any, origin: Origin) -> Override:
    """The value as JSON has it, so that tuples are lists; what JSON cannot say is refused."""
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
    """Paths as text, and the scalars of numpy and torch as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    raise TypeError(f"it is of type {type(value).__name__}")
