"""`--set key=value`: one dotted key, and a value typed as it would be in a recipe file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.reading import Origin, parse_value


@dataclass(frozen=True, slots=True)
class Override:
    """A value that the command line puts in place of the recipe's."""

    key: str
    value: Any
    origin: Origin

    def nested(self) -> dict[str, Any]:
        """The value inside the sections that its key names."""
        value = self.value
        for part in reversed(self.key.split(".")):
            value = {part: value}
        return dict(value)

    def origins(self) -> dict[str, Origin]:
        """The key and every section above it."""
        parts = self.key.split(".")
        return {".".join(parts[: n + 1]): self.origin for n in range(len(parts))}


def parse_overrides(given: Sequence[str | Override]) -> list[Override]:
    """All of `given`, texts as `--set` has them; every one that cannot be read is reported."""
    parsed: list[Override] = []
    errors: list[RecipeError] = []
    for one in given:
        try:
            parsed.append(one if isinstance(one, Override) else parse_override(one))
        except RecipeError as error:
            errors.append(error)
    if errors:
        raise RecipeError.joined(errors)
    return parsed


def parse_override(text: str) -> Override:
    """`train.batch=8` as a key and a value; only the first `=` separates."""
    key, separator, value = (part.strip() for part in text.partition("="))
    origin = Origin(f"--set {text}")
    if not separator or not all(key.split(".")):
        raise RecipeError(
            f"'{text}' is not of the form key=value.",
            where=str(origin),
            fix="write for example --set train.batch=8.",
        )
    if not value:
        raise RecipeError(
            f"'{key}' is given no value.",
            where=str(origin),
            fix=f"write --set {key}=null to say that there is none.",
        )
    try:
        return Override(key, parse_value(value), origin)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(
            f"the value of '{key}' cannot be read.",
            where=str(origin),
            fix="close every bracket and quote; lists look like [1, 2].",
        ) from error
