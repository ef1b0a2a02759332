"""Turn a pydantic error into `RecipeError`s: the key, where it is set, and what is allowed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.allowed import Schema, describe, keys_of, node_at
from mimdet_cli.recipe.reading import DEFAULT, Origin

Path = tuple[str | int, ...]
KEY: Final = re.compile(r"\b[a-z_]+\.[a-z0-9_.]*[a-z0-9_]")
"""A dotted key inside a sentence."""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[str, Origin],
    *,
    prefix: str = "",
    document: str = "a recipe",
) -> list[RecipeError]:
    """All errors of `model`, sorted by line.

    `prefix` is the section of its keys; `document` is what messages call the file.
    """
    schema = model.model_json_schema()

    def place(details: ErrorDetails) -> tuple[str, int]:
        origin = origin_of(prefix + dotted(details["loc"]), origins)
        return origin.source, origin.line or 0

    ordered = sorted(error.errors(), key=place)
    return [_recipe_error(details, schema, origins, prefix, document) for details in ordered]


def _recipe_error(
    details: ErrorDetails,
    schema: Schema,
    origins: Mapping[str, Origin],
    prefix: str,
    document: str,
) -> RecipeError:
    path = details["loc"]
    key = prefix + dotted(path)
    where = str(origin_of(key, origins))
    if details["type"] == "extra_forbidden":
        return RecipeError(
            f"'{key}' is not {document} key.",
            where=where,
            fix=nearest_key(key, schema, prefix, document),
        )
    if details["type"] == "missing":
        return RecipeError(f"'{key}' is not set.", where=where, fix=f"give {_say(schema, path)}.")
    if details["type"] in ("value_error", "assertion_error"):
        message = str(details.get("ctx", {}).get("error", details["msg"]))
        named = [origins[key] for key in KEY.findall(message) if key in origins]
        places = dict.fromkeys(str(origin) for origin in named)
        return RecipeError(f"{message}.", where="; ".join(places) or where)
    item = path[-1] if path and isinstance(path[-1], int) else None
    subject = f"'{key}'" if item is None else f"item {item + 1} of '{key}'"
    return RecipeError(
        f"{subject} cannot be {_show(details['input'])}.",
        where=where,
        fix=_advice(details, schema, path),
    )


def dotted(path: Path) -> str:
    """The recipe key of an error's path: `data.short_side` for `("data", "short_side", 2)`."""
    return ".".join(str(part) for part in path if isinstance(part, str))


def origin_of(key: str, origins: Mapping[str, Origin]) -> Origin:
    """Where `key`, or else the nearest section above it, was set."""
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return origins.get(key, DEFAULT)


def nearest_key(key: str, schema: Schema, prefix: str, document: str = "a recipe") -> str:
    """The fix for an unknown `key`: a similar key, or the same word in another section."""
    section, _, word = key.removeprefix(prefix).rpartition(".")
    known = list(keys_of(schema))
    if key.removeprefix(prefix) in known:
        return f"nest '{word}:' in the section '{key.rpartition('.')[0]}:'."
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == section]
    elsewhere = [k for k in known if k.rpartition(".")[2] == word]
    if near := get_close_matches(word, siblings, n=1, cutoff=0.75):
        return f"did you mean '{near[0]}'?"
    if elsewhere:
        return f"did you mean '{prefix}{elsewhere[0]}'?"
    if near := get_close_matches(word, siblings, n=1):
        return f"did you mean '{near[0]}'?"
    place = f"'{(prefix + section).rstrip('.')}'" if prefix + section else document
    return f"{place} has the keys {', '.join(siblings)}." if siblings else "remove it."


def _advice(details: ErrorDetails, schema: Schema, path: Path) -> str:
    allowed = _say(schema, path)
    near = _nearest_choice(details["input"], _choices(node_at(schema, path)))
    return f"did you mean '{near}'? Give {allowed}." if near else f"give {allowed}."


def _say(schema: Schema, path: Path) -> str:
    return describe(node_at(schema, path), schema)


def _choices(node: Schema) -> Iterator[str]:
    for choice in node.get("enum", []):
        yield str(choice)
    for branch in node.get("anyOf", []):
        yield from _choices(branch)


def _nearest_choice(value: object, choices: Iterator[str]) -> str | None:
    by_lower = {choice.lower(): choice for choice in choices}
    near: Sequence[str] = get_close_matches(str(value).lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def _show(value: Any) -> str:
    """A value as written in a recipe, shortened."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
