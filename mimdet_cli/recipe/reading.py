"""Read a YAML file into plain values, with the file and line of every key.

Aliases, tags and duplicate keys are errors.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from mimdet_cli.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a file and line, a command-line option, or the default."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}, line {self.line}"


DEFAULT: Final = Origin("default")


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, and the origin of each dotted key, including sections."""

    values: dict[str, Any]
    origins: dict[str, Origin]


class RecipeLoader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, as in YAML 1.2, and dates as text."""


class RecipeDumper(yaml.SafeDumper):
    """Writes YAML that `RecipeLoader` reads back unchanged, with lists on one line."""


_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$")

for _class in (RecipeLoader, RecipeDumper):
    _class.yaml_implicit_resolvers = {
        first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))

RecipeDumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, True)
)


def read_yaml(path: Path, shown: str) -> Document:
    """Read a YAML file; `shown` is its name in messages."""
    document = _parsed(_text(path, shown), shown)
    return Document(dict(document.values), dict(document.origins))


@cache
def _parsed(text: str, shown: str) -> Document:
    """Parse a text; cached, because many recipes share their bases."""
    loader = RecipeLoader(text)
    try:
        root = loader.get_single_node()
        _refuse_bad_nodes(root, shown)
        values = loader.construct_document(root) if root is not None else None
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax_error(error, shown) from error
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise RecipeError(
            "the file has no recipe sections.",
            where=shown,
            fix="start from a shipped recipe: `mimdet recipe copy base_50pct`.",
        )
    origins = {
        ".".join(keys): Origin(shown, key.start_mark.line + 1) for keys, key in _keys_of(root)
    }
    return Document(values, origins)


def parse_value(text: str) -> Any:
    """Parse `text` as a value in a recipe file; raises `yaml.YAMLError`."""
    return yaml.load(text, RecipeLoader)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; lists are leaves."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecipeError("there is no such file.", where=shown) from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            "the file is not UTF-8 text.", where=shown, fix="give a YAML file."
        ) from error


def _syntax_error(error: Exception, shown: str) -> RecipeError:
    mark = getattr(error, "problem_mark", None)
    where = f"{shown}, line {mark.line + 1}" if mark else shown
    problem = getattr(error, "problem", None) or str(error)
    return RecipeError(f"this is not valid YAML: {problem}.", where=where)


def _keys_of(
    node: yaml.Node | None, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            keys = (*above, str(key.value))
            yield keys, key
            yield from _keys_of(value, keys)


def _refuse_bad_nodes(root: yaml.Node | None, shown: str) -> None:
    """Raise for every alias, duplicate key and key that is not text, all together."""
    errors: list[RecipeError] = []
    seen: set[int] = set()

    def visit(node: yaml.Node) -> None:
        where = f"{shown}, line {node.start_mark.line + 1}"
        if isinstance(node, yaml.CollectionNode):
            if id(node) in seen:
                errors.append(
                    RecipeError(
                        "YAML aliases are not supported.", where=where, fix="repeat the value."
                    )
                )
                return
            seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            errors.extend(_bad_keys(node, shown))
            for _, value in node.value:
                visit(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                visit(item)

    if root is not None:
        visit(root)
    if errors:
        raise RecipeError.joined(errors)


def _bad_keys(node: yaml.MappingNode, shown: str) -> Iterator[RecipeError]:
    first: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        where = f"{shown}, line {line}"
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            yield RecipeError("a key is not plain text.", where=where, fix="put it in quotes.")
        elif key.value in first:
            yield RecipeError(
                f"'{key.value}' is set twice.",
                where=where,
                fix=f"keep one; the first is on line {first[key.value]}.",
            )
        else:
            first[key.value] = line
