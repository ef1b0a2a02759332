"""A recipe given from Python: a name, a file, a dictionary, or a `Recipe`, with changed values."""

import json
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


def resolve_recipe(
    recipe: RecipeLike,
    overrides: Mapping[str, Any] | None = None,
    *,
    data: str | Path | None = None,
    seed: int | None = None,
) -> ResolvedRecipe:
    """The recipe with `overrides`, values by dotted key, and then `data` and `seed` on top."""
    changes = [
        Override(key, value, Origin("overrides")) for key, value in (overrides or {}).items()
    ]
    if data is not None:
        changes.append(Override("data.root", str(data), Origin("data")))
    if seed is not None:
        changes.append(Override("seed", seed, Origin("seed")))
    return validate(with_overrides(_draft(recipe), [_plain(change) for change in changes]))


def _draft(recipe: RecipeLike) -> Draft:
    if isinstance(recipe, Recipe):
        return Draft(recipe.model_dump(mode="json"), {}, Path(recipe.name))
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
    own = dict(_plain(Override("recipe", dict(values), GIVEN)).value)
    extends = own.pop("extends", [])
    draft = Draft({}, {}, Path("recipe"))
    for base in extends if isinstance(extends, list) else [extends]:
        if not isinstance(base, str):
            raise RecipeError(
                "'extends' is neither a recipe's name nor a list of them.",
                where=str(GIVEN),
                fix="write for example {'extends': 'base_50pct'}.",
            )
        draft = merge(draft, read_recipe(base))
    layers = [Override(key, value, GIVEN) for key, value in flatten(own)]
    return with_overrides(draft, layers)


def _plain(change: Override) -> Override:
    """The value as JSON has it, so that tuples are lists; what JSON cannot say is refused."""
    try:
        value = json.loads(json.dumps(change.value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"the value of '{change.key}' cannot be in a recipe: {error}.",
            where=str(change.origin),
            fix="use numbers, text, true, false, None, lists and dictionaries.",
        ) from error
    return Override(change.key, value, change.origin)
