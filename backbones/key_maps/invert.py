"""From our names back to a published layout: the rules of a key map, read from right to left.

A rule is inverted if everything that varies in its pattern is a group, and its target repeats every
group. Others are passed over, so that a key which only such a rule makes has no name there.
"""

import re
from collections.abc import Iterator, Mapping

import torch

from backbones.key_maps.rename import KeyMap, Rule, rename

_GROUP = re.compile(
    r"(?<!\\)\((?:\?P<(?P<name>\w+)>)?(?P<body>(?!\?)(?:[^()]|\([^()]*\))*)\)(?P<optional>\??)"
)
_REFERENCE = re.compile(r"\\(?:g<(?P<name>\w+)>|(?P<number>\d))")
_LITERAL = re.compile(r"(?:\\\W|[\w-])*")


def published_names(key: str, rules: Mapping[str, Rule]) -> list[str]:
    """Keys of the published layout that `rules` turn into our `key`, in the rules' order."""
    found = []
    for pattern, template in _inverses(rules):
        match = re.fullmatch(pattern, key)
        if match is None:
            continue
        name = match.expand(template)
        back = rename({name: torch.empty(0)}, KeyMap(rules)).kept  # an earlier rule may take it
        if key in back and name not in found:
            found.append(name)
    return found


def _inverses(rules: Mapping[str, Rule]) -> Iterator[tuple[str, str]]:
    """Pattern of our key and template of theirs, for each rule that can be inverted."""
    for pattern, target in rules.items():
        if not isinstance(target, str):
            continue
        groups, template = _pieces(pattern)
        referred = [one["name"] or f"g{one['number']}" for one in _REFERENCE.finditer(target)]
        if template is not None and sorted(referred) == sorted(groups):
            yield _our_pattern(target, groups), template


def _pieces(pattern: str) -> tuple[dict[str, str], str | None]:
    """The groups by name (`g1` for the first unnamed one), and the key as a template of them.

    The template is None where something varies outside of the groups.
    """
    groups: dict[str, str] = {}
    parts: list[str] = []
    literals: list[str] = []
    end = 0
    for number, group in enumerate(_GROUP.finditer(pattern), 1):
        name = group["name"] or f"g{number}"
        groups[name] = f"(?P<{name}>{group['body']}){group['optional']}"
        literals.append(pattern[end : group.start()])
        parts += [_unescaped(literals[-1]), rf"\g<{name}>"]
        end = group.end()
    literals.append(pattern[end:])
    parts.append(_unescaped(literals[-1]))
    fixed = all(_LITERAL.fullmatch(literal) for literal in literals)
    return groups, "".join(parts) if fixed else None


def _our_pattern(target: str, groups: Mapping[str, str]) -> str:
    parts: list[str] = []
    end = 0
    for one in _REFERENCE.finditer(target):
        parts += [re.escape(target[end : one.start()]), groups[one["name"] or f"g{one['number']}"]]
        end = one.end()
    return "".join([*parts, re.escape(target[end:])])


def _unescaped(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal)
