"""Load a recipe file with its bases and overrides into a frozen `Recipe` with known origins.

`read_recipe` merges plain values; `validate` checks them against the schema. The backbone's options
are checked later, by `check_options`, when their class is known.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from backbones.options.base import BackboneOptions
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.catalog import find_recipe, shipped, shown
from mimdet_cli.recipe.explain import explain
from mimdet_cli.recipe.overrides import Override, parse_overrides
from mimdet_cli.recipe.reading import DEFAULT, Origin, RecipeDumper, flatten, read_yaml
from mimdet_cli.recipe.schema import CompletedBackbone, CompletedRecipe, Recipe

LEVELS = 2
ONE_LINE = 10_000

AnyOptions = TypeVar("AnyOptions", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Draft:
    """Merged values before validation, with the origin of every key that is set."""

    values: dict[str, Any]
    origins: dict[str, Origin]
    source: Path


@dataclass(frozen=True, slots=True)
class ResolvedRecipe:
    """A valid recipe, with the origins of its values by dotted key."""

    recipe: Recipe
    origins: Mapping[str, Origin]
    source: Path

    def origin(self, key: str) -> Origin:
        """Where the value of `key` came from."""
        return self.origins.get(key, DEFAULT)

    def flat(self) -> dict[str, Any]:
        """Every value by dotted key."""
        return dict(flatten(self.recipe.model_dump(mode="json")))


@dataclass(frozen=True, slots=True)
class Completed(ResolvedRecipe):
    """A recipe with every option of its backbone, with the origins of its values."""

    recipe: CompletedRecipe


def load_recipe(
    name_or_path: str | Path,
    overrides: Sequence[str | Override] = (),
    *,
    data: str | Path | None = None,
    seed: int | None = None,
) -> ResolvedRecipe:
    """Load a recipe file or a shipped recipe; `data` and `seed` are `--data` and `--seed`."""
    return validate(read_recipe(name_or_path, overrides, data=data, seed=seed))


def read_recipe(
    name_or_path: str | Path,
    overrides: Sequence[str | Override] = (),
    *,
    data: str | Path | None = None,
    seed: int | None = None,
) -> Draft:
    """Merge the bases, the file itself, `--set` in order, then `--data` and `--seed`."""
    path = find_recipe(name_or_path)
    layers = parse_overrides(overrides)
    if data is not None:
        layers.append(Override("data.root", str(data), Origin(f"--data {data}")))
    if seed is not None:
        layers.append(Override("seed", seed, Origin(f"--seed {seed}")))
    # A recipe is named after its file by default.
    named = Draft({"name": path.stem}, {"name": Origin(shown(path))}, path)
    draft = merge(named, _read(path, (), shown(path)))
    return with_overrides(draft, layers)


def with_overrides(draft: Draft, layers: Iterable[Override]) -> Draft:
    """Apply `layers` in order; the last one wins."""
    for layer in layers:
        draft = merge(draft, Draft(layer.nested(), layer.origins(), draft.source))
    return draft


def validate(draft: Draft) -> ResolvedRecipe:
    """Validate a draft, reporting all schema errors together."""
    recipe = _strictly(Recipe, draft.values, draft.origins)
    return ResolvedRecipe(recipe, draft.origins, draft.source)


def check_options(
    options_class: type[AnyOptions], values: Mapping[str, Any], origins: Mapping[str, Origin]
) -> AnyOptions:
    """Validate backbone options; errors name `backbone.KEY` and where it was set."""
    return _strictly(options_class, values, origins, prefix="backbone.")


def with_options(resolved: ResolvedRecipe, options: BackboneOptions) -> Completed:
    """The recipe with the validated options of its backbone."""
    recipe = resolved.recipe
    values = {key: getattr(recipe, key) for key in Recipe.model_fields}
    section = CompletedBackbone(name=recipe.backbone.name, options=options)
    full = CompletedRecipe.model_validate({**values, "backbone": section})
    return Completed(full, resolved.origins, resolved.source)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, which loads to an equal recipe."""
    return to_yaml(recipe.model_dump(mode="json"))


def to_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, in the given order."""
    return yaml.dump(
        dict(values), Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, width=ONE_LINE
    )


def _strictly(
    model: type[AnyOptions],
    values: Mapping[str, Any],
    origins: Mapping[str, Origin],
    prefix: str = "",
) -> AnyOptions:
    """Validate without coercion: JSON mode accepts lists as tuples, but not text as numbers."""
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        raise RecipeError.joined(explain(error, model, origins, prefix=prefix)) from error


def _read(path: Path, above: tuple[Path, ...], name: str) -> Draft:
    """Merge a file over its bases; `above` are the files that extend it."""
    document = read_yaml(path, name)
    values, origins = document.values, document.origins
    where = str(origins.get("extends", name))
    bases = list(_bases(values.pop("extends", []), where))
    origins.pop("extends", None)
    chain = (*above, path.resolve())
    if bases and len(above) == LEVELS:
        raise RecipeError(
            f"recipes extend each other more than {LEVELS} levels deep.",
            where=where,
            fix="merge two of these files: " + ", ".join(map(shown, chain)) + ".",
        )
    draft = Draft({}, {}, path)
    for base in bases:
        beside = path.parent / base
        target = beside if beside.is_file() else shipped(base) or beside
        if target.resolve() in chain:
            raise RecipeError(f"'{base}' extends itself.", where=where, fix="remove the cycle.")
        if not target.is_file():
            raise RecipeError(f"there is no file '{base}' to extend.", where=where)
        draft = merge(draft, _read(target, chain, shown(target)))
    return merge(draft, Draft(values, origins, path))


def _bases(extends: object, where: str) -> Iterator[str]:
    for base in extends if isinstance(extends, list) else [extends]:
        if not isinstance(base, str):
            raise RecipeError(
                "'extends' must be a file name or a list of file names.",
                where=where,
                fix="give a name, such as `extends: base_50pct`.",
            )
        yield base


def merge(below: Draft, above: Draft) -> Draft:
    """Merge `above` over `below`, section by section."""
    return Draft(
        _merge_values(below.values, above.values), below.origins | above.origins, below.source
    )


def _merge_values(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge sections; replace everything else."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge_values(old, value) if both and old is not None else value
    return merged
