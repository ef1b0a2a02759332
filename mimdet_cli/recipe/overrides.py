"""`--set key=value`: a dotted key, and a value with the type it has in a recipe file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.reading import Origin, parse_value


@dataclass(frozen=True, slots=True)
class Override:
    """A value that replaces the recipe's."""

    key: str
    value: Any
    origin: Origin

    def nested(self) -> dict[str, Any]:
        """The value nested in the sections of its key."""
        value = self.value
        for part in reversed(self.key.split(".")):
            value = {part: value}
        return dict(value)

    def origins(self) -> dict[str, Origin]:
        """The origin by key, for the key and every section above it."""
        parts = self.key.split(".")
        return {".".join(parts[: n + 1]): self.origin for n in range(len(parts))}


def parse_overrides(overrides: Sequence[str | Override]) -> list[Override]:
    """Parse the values of `--set`, reporting all errors together."""
    parsed: list[Override] = []
    errors: list[RecipeError] = []
    for override in overrides:
        try:
            parsed.append(override if isinstance(override, Override) else parse_override(override))
        except RecipeError as error:
            errors.append(error)
    if errors:
        raise RecipeError.joined(errors)
    return parsed


def parse_override(text: str) -> Override:
    """Parse `train.batch=8`; only the first `=` separates."""
    key, separator, value = (part.strip() for part in text.partition("="))
    origin = Origin(f"--set {text}")
    if not separator or not all(key.split(".")):
        raise RecipeError(
            f"'{text}' is not of the form key=value.",
            where=str(origin),
            fix="use a key and a value, such as --set train.batch=8.",
        )
    if not value:
        raise RecipeError(
            f"'{key}' has no value.",
            where=str(origin),
            fix=f"give a value, or --set {key}=null to unset it.",
        )
    try:
        return Override(key, parse_value(value), origin)
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(
            f"the value of '{key}' is not valid YAML.",
            where=str(origin),
            fix="close every bracket and quote; write lists as [1, 2].",
        ) from error
