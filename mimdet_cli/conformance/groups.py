"""What the optimizer and `mimdet pull` read off parameter names: depths, rules, key maps."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import get_args

from backbones.contract import ParameterRule, Rate
from backbones.key_maps.rename import KeyMap
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, several

NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def depths(subject: Subject) -> Verdict:
    """A whole number from 0 to `depth` for every name, not falling along numbered blocks.

    Compared are names that differ in one number only, such as `blocks.3.norm.weight` and
    `blocks.4.norm.weight`: the larger number must not have the smaller depth.
    """
    backbone = subject.build()
    deepest = backbone.depth
    found = {name: backbone.depth_of(name) for name, _ in backbone.named_parameters()}
    outside = [
        f"depth_of('{name}') is {depth!r}, promised a whole number from 0 to {deepest}"
        for name, depth in found.items()
        if type(depth) is not int or not 0 <= depth <= deepest
    ]
    if outside:
        more = [f"and {len(outside) - 3} more"] if len(outside) > 3 else []
        return Verdict("", (*outside[:3], *more))
    falls = list(falling(found))
    more = [f"and {len(falls) - 3} more"] if len(falls) > 3 else []
    measured = f"{len(found)} names from {min(found.values())} to {max(found.values())}"
    return Verdict(f"{measured} of {deepest}", (*falls[:3], *more))


def falling(depth_of: dict[str, int]) -> Iterator[str]:
    """Neighbours along a number of their names whose depth falls."""
    series: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for name in depth_of:
        for match in NUMBER.finditer(name):
            key = (name[: match.start()], name[match.end() :])
            series[key].append((int(match[0]), name))
    for members in series.values():
        ordered = [name for _, name in sorted(members)]
        for before, after in pairwise(ordered):
            if depth_of[after] < depth_of[before]:
                yield (
                    f"'{before}' has depth {depth_of[before]}, '{after}' after it {depth_of[after]}"
                )


def rules(subject: Subject) -> Verdict:
    """Each rule is a template that matches a parameter, and names a rate."""
    backbone = subject.build()
    names = [name for name, _ in backbone.named_parameters()]
    stated = tuple(backbone.parameter_rules)
    broken = tuple(one for rule in stated for one in _wrong_rule(rule, names))
    return Verdict(f"{len(stated)} rules for {len(names)} parameters", broken)


def key_maps(subject: Subject) -> Verdict:
    """Each layout is a `KeyMap`, which itself refuses wrong templates."""
    maps = dict(subject.build().key_maps)
    broken = [
        f"'{name}' is {key_map!r}, not a KeyMap"
        for name, key_map in maps.items()
        if not isinstance(key_map, KeyMap)
    ]
    return Verdict(several(list(maps)) or "none", tuple(broken))


def _wrong_rule(rule: ParameterRule, names: list[str]) -> Iterator[str]:
    if not isinstance(rule, ParameterRule):
        yield f"{rule!r} is not a ParameterRule"
        return
    said = "' or '".join(rule.texts)
    if rule.rate not in get_args(Rate):
        yield f"'{said}' has the rate '{rule.rate}', promised one of {get_args(Rate)}"
    if not any(rule.matches(name) for name in names):
        yield f"'{said}' matches 0 of {len(names)} parameters, such as '{names[0]}'"
