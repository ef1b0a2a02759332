"""Templates of parameter names: plain text with named holes, which take a name apart and make one.

    blocks.{i}.norm1.{leaf}     a single letter is a number; `leaf` is `weight` or `bias`
    {cls|dist}_token            one of these words; `{kind:cls|dist}` also gives the choice a name
    stem.{rest}                 `rest` and `path` are any text, dots included
    fpn_{kind}.norm             any other name is text without a dot

A template describes a whole name, never a part of it. Two templates with the same holes translate
names in both directions: match one, fill the other.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_HOLE: Final = re.compile(r"\{([^{}]*)\}")
_PLAIN: Final = re.compile(r"[^\\()\[\]{}*+?^$|]*")
_NUMBER: Final = r"\d+"
_KINDS: Final[Mapping[str, str]] = {"leaf": "weight|bias", "rest": ".+", "path": ".+"}
_ONE_NAME: Final = r"[^.]+"
_EXAMPLE: Final = "blocks.{i}.{norm1|norm2}.{leaf}"


class TemplateError(ValueError):
    """A rule that is not a template, or whose two sides do not match; the message says the fix."""


class Template:
    """Text with holes. `kinds` are what its holes match, by name, as regular expressions."""

    __slots__ = ("_pattern", "holes", "kinds", "literals", "text")

    def __init__(self, text: str, given: Mapping[str, str]) -> None:
        """Parse `text`; holes in `given` are of the kinds that it says."""
        pieces = _HOLE.split(text)
        self.text = text
        self.literals = pieces[::2]
        for literal in self.literals:
            _check_plain(literal, text)
        parsed = [_parsed(hole, text) for hole in pieces[1::2]]
        self.holes = tuple(name for name, _ in parsed)
        if len(set(self.holes)) < len(self.holes):
            raise TemplateError(f"'{text}' has two holes with the same name; give each its own.")
        self.kinds = {name: given.get(name, kind) for name, kind in parsed}
        groups = [f"({kind})" for kind in self.kinds.values()]
        self._pattern = re.compile(
            "".join(
                re.escape(literal) + group
                for literal, group in zip(self.literals, [*groups, ""], strict=True)
            )
        )

    def match(self, name: str) -> dict[str, str] | None:
        """The value of each hole; None if `name` does not match."""
        found = self._pattern.fullmatch(name)
        return None if found is None else dict(zip(self.holes, found.groups(), strict=True))

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with `values` in the holes; those of other holes are ignored."""
        words = [*(values[hole] for hole in self.holes), ""]
        return "".join(literal + word for literal, word in zip(self.literals, words, strict=True))


@lru_cache(maxsize=4096)
def template(text: str, *given: tuple[str, str]) -> Template:
    """The template `text`; `given` are the kinds of holes that another side determines."""
    return Template(text, dict(given))


def choice(words: tuple[str, ...]) -> str:
    """The kind of a hole that matches one of `words`."""
    return "|".join(re.escape(word) for word in words)


def _parsed(hole: str, text: str) -> tuple[str, str]:
    """Name and kind of a hole; an unnamed choice is called what is written in it."""
    name, colon, words = hole.partition(":")
    is_choice = bool(colon) or "|" in hole
    if not is_choice and name.isidentifier():
        return name, _NUMBER if len(name) == 1 else _KINDS.get(name, _ONE_NAME)
    if not is_choice:
        raise TemplateError(f"'{text}' has the hole '{{{hole}}}'; name it, as in '{_EXAMPLE}'.")
    if colon and not name.isidentifier():
        raise TemplateError(
            f"'{text}' has the hole '{{{hole}}}'; write one name before ':', as in "
            "'{kind:cls|reg}'."
        )
    options = tuple((words if colon else hole).split("|"))
    if not all(options):
        raise TemplateError(
            f"'{text}' has an empty word in the hole '{{{hole}}}'; remove it, or write two rules."
        )
    for word in options:
        _check_plain(word, text)
    return name, choice(options)


def _check_plain(part: str, text: str) -> None:
    """Raise unless `part`, a word or what stands between the holes of `text`, is plain text."""
    if _PLAIN.fullmatch(part):
        return
    if set(part) & set("{}"):
        raise TemplateError(
            f"'{text}' has a brace without its partner, or a hole inside a hole; write holes as in "
            f"'{_EXAMPLE}'."
        )
    raise TemplateError(f"'{text}' is a regular expression; write a template such as '{_EXAMPLE}'.")
