"""What the optimizer and the loader of weights read off parameter names."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import get_args

from backbones.contract import ParameterRule, Rate
from backbones.key_maps.rename import KeyMap
from mimdet_cli.conformance.promise import Finding, promise
from mimdet_cli.conformance.subject import Subject, several

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@promise(
    "depth",
    "every parameter has a depth from 0 to `depth`, which never falls along the blocks",
    fix="let `depth_of` answer for every name in `named_parameters()`: 0 for the stem, i + 1 for"
    " block i, `depth` for everything after the blocks.",
)
def depth(subject: Subject) -> Finding:
    """An integer from 0 to `depth` for every name, never falling along numbered blocks.

    Names that differ in one number only, such as `blocks.3.norm.weight` and
    `blocks.4.norm.weight`, are compared: the larger number must not have the smaller depth.
    """
    backbone = subject.build()
    deepest = backbone.depth
    found = {name: backbone.depth_of(name) for name, _ in backbone.named_parameters()}
    outside = [
        f"depth_of('{name}') is {depth!r}, promised an integer from 0 to {deepest}"
        for name, depth in found.items()
        if type(depth) is not int or not 0 <= depth <= deepest
    ]
    if outside:
        more = [f"and {len(outside) - 3} more"] if len(outside) > 3 else []
        return Finding("", (*outside[:3], *more))
    falls = list(falling(found))
    more = [f"and {len(falls) - 3} more"] if len(falls) > 3 else []
    measured = f"{len(found)} names from {min(found.values())} to {max(found.values())}"
    return Finding(f"{measured} of {deepest}", (*falls[:3], *more))


def falling(depth_of: dict[str, int]) -> Iterator[str]:
    """Neighbours in a numbered series whose depth falls."""
    series: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for name in depth_of:
        for match in NUMBER.finditer(name):
            key = (name[: match.start()], name[match.end() :])
            series[key].append((int(match[0]), name))
    for members in series.values():
        ordered = [name for _, name in sorted(members)]
        for before, after in pairwise(ordered):
            if depth_of[after] < depth_of[before]:
                yield (f"'{before}' has depth {depth_of[before]}, but '{after}' {depth_of[after]}")


@promise(
    "rules",
    "every parameter rule matches a parameter and names a valid rate",
    fix="write templates of full parameter names, such as `blocks.{i}.norm1.{leaf}`, and omit "
    "rules that do not apply to these options.",
)
def rules(subject: Subject) -> Finding:
    """Each rule is a template that matches a parameter, and names a rate."""
    backbone = subject.build()
    names = [name for name, _ in backbone.named_parameters()]
    stated = tuple(backbone.parameter_rules)
    broken = tuple(breach for rule in stated for breach in _wrong_rule(rule, names))
    return Finding(f"{len(stated)} rules for {len(names)} parameters", broken)


@promise(
    "key_maps",
    "every key map is a table of valid templates",
    fix="return a KeyMap for each layout; every hole on the right of a rule, such as `{i}`, must"
    " also be on its left.",
)
def key_maps(subject: Subject) -> Finding:
    """Each layout is a `KeyMap`, which itself refuses wrong templates."""
    maps = dict(subject.build().key_maps)
    broken = [
        f"'{name}' is {key_map!r}, not a KeyMap"
        for name, key_map in maps.items()
        if not isinstance(key_map, KeyMap)
    ]
    return Finding(several(list(maps)) or "none", tuple(broken))


def _wrong_rule(rule: ParameterRule, names: list[str]) -> Iterator[str]:
    if not isinstance(rule, ParameterRule):
        yield f"{rule!r} is not a ParameterRule"
        return
    templates = "' or '".join(rule.texts)
    if rule.rate not in get_args(Rate):
        yield f"'{templates}' has the rate '{rule.rate}', promised one of {get_args(Rate)}"
    if not any(rule.matches(name) for name in names):
        yield f"'{templates}' matches 0 of {len(names)} parameters, such as '{names[0]}'"
