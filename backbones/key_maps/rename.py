"""Rename the keys of a checkpoint by rule: every key is renamed, dropped by rule, or unknown.

A map is a table of full-match patterns. Nothing is guessed: a key that no rule names is reported
as unknown, and the loader refuses the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Size, Tensor


@dataclass(frozen=True, slots=True)
class Drop:
    """Marks keys that a map leaves behind on purpose, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Marks keys of tensors that become one of ours, joined along their first axis.

    The group `part` of the pattern says which one a key is, `parts` in which order they stand;
    None stands for zeros in the shape of the others, where a layout leaves a part out.
    """

    into: str
    parts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Trim:
    """Marks keys of tensors that become ours without their last `rows`, with the reason."""

    into: str
    rows: int
    reason: str


Rule = str | Drop | Stack | Trim
"""What becomes of the keys that a pattern matches; a string is our key."""
Resize = Callable[[Tensor, Size], Tensor]


@dataclass(frozen=True, slots=True)
class KeyMap:
    """How one published layout becomes ours.

    `rules`: pattern of the file's key -> our key (with group references), or another rule; the
        first match wins.
    `fresh`: patterns of our keys that such a file never holds, though the backbone calls them
        pre-trained, so that their absence is expected.
    `resize`: pattern of our key -> function that brings a tensor to the shape the model has; it
        raises ValueError for a tensor that it cannot read.
    `unwrap`: key under which a `.pth` file may keep the weights, or None.
    `head`: for files of whole detectors, the layout of the head (`heads.key_maps`); None for
        files that hold a backbone alone.
    `through`: a map to the layout whose keys `rules` are about, for files of another one.
    """

    rules: Mapping[str, Rule]
    fresh: tuple[str, ...] = ()
    resize: Mapping[str, Resize] = field(default_factory=dict)
    unwrap: str | None = None
    head: str | None = None
    through: "KeyMap | None" = None

    def is_fresh(self, key: str) -> bool:
        """Whether our `key` is expected to keep its initial value."""
        return any(re.fullmatch(pattern, key) for pattern in self.fresh)

    def resizer(self, key: str) -> Resize | None:
        """The function that may change the shape of our `key`."""
        return next((f for pattern, f in self.resize.items() if re.fullmatch(pattern, key)), None)


@dataclass(frozen=True, slots=True)
class Renamed:
    """A checkpoint after renaming.

    `kept`: our key -> tensor. `dropped`: the file's key -> reason. `unknown`: keys that no rule
    names. `broken`: our key -> why its tensors in the file do not make it. `sources`: our key ->
    the file's keys that it was made of.
    """

    kept: dict[str, Tensor]
    dropped: dict[str, str]
    unknown: tuple[str, ...]
    broken: dict[str, str]
    sources: dict[str, tuple[str, ...]]


def rename(state: Mapping[str, Tensor], key_map: KeyMap) -> Renamed:
    """Apply `key_map` to a state dict; tensors that are not joined are not copied."""
    if key_map.through is None:
        return _Table(state).apply(key_map.rules)
    first = rename(state, key_map.through)
    second = _Table(first.kept).apply(key_map.rules)
    files = first.sources

    def of_file(key: str) -> tuple[str, ...]:
        return files.get(key, (key,))

    return Renamed(
        kept=second.kept,
        dropped=first.dropped
        | {name: why for key, why in second.dropped.items() for name in of_file(key)},
        unknown=(*first.unknown, *(name for key in second.unknown for name in of_file(key))),
        broken=first.broken | second.broken,
        sources={
            ours: tuple(name for key in keys for name in of_file(key))
            for ours, keys in second.sources.items()
        },
    )


class _Table:
    """The outcome of a table of rules, as it fills key by key."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.found = Renamed({}, {}, (), {}, {})
        self.stacks: dict[str, dict[str, str]] = {}

    def apply(self, rules: Mapping[str, Rule]) -> Renamed:
        """Every key through the first rule that names it."""
        compiled = [(re.compile(pattern), rule) for pattern, rule in rules.items()]
        unknown = []
        for key in self.state:
            for pattern, rule in compiled:
                if match := pattern.fullmatch(key):
                    self.follow(key, match, rule)
                    break
            else:
                unknown.append(key)
        found = self.found
        return Renamed(found.kept, found.dropped, tuple(unknown), found.broken, found.sources)

    def follow(self, key: str, match: re.Match[str], rule: Rule) -> None:
        """Do with `key` what its rule says."""
        if isinstance(rule, Drop):
            self.found.dropped[key] = rule.reason
        elif isinstance(rule, Trim):
            self.trim(key, match.expand(rule.into), rule)
        elif isinstance(rule, Stack):
            self.stack(key, match, rule)
        else:
            self.keep(match.expand(rule), self.state[key], key)

    def keep(self, ours: str, tensor: Tensor, *keys: str) -> None:
        """Take `tensor` as our parameter, once."""
        if ours in self.found.kept:
            claims = " and ".join(f"'{', '.join(one)}'" for one in (keys, self.found.sources[ours]))
            self.found.broken[ours] = f"{claims} both become it"
            return
        self.found.kept[ours] = tensor
        self.found.sources[ours] = keys

    def trim(self, key: str, ours: str, rule: Trim) -> None:
        """Leave the last rows behind."""
        tensor = self.state[key]
        if tensor.ndim == 0 or len(tensor) <= rule.rows:
            self.found.broken[ours] = f"'{key}' has shape {tuple(tensor.shape)}"
            return
        self.keep(ours, tensor[: -rule.rows], key)
        self.found.dropped[f"{key}[-{rule.rows}:]"] = rule.reason

    def stack(self, key: str, match: re.Match[str], rule: Stack) -> None:
        """Note a part, and join all of them once they are there."""
        ours = match.expand(rule.into)
        keys = self.stacks.setdefault(ours, {})
        keys[match["part"]] = key
        start, end = match.span("part")
        names = {part: key[:start] + part + key[end:] for part in rule.parts if part is not None}
        absent = [name for part, name in names.items() if part not in keys]
        if absent:
            self.found.broken[ours] = f"the file has no {', '.join(absent)}"
            return
        tensors = {part: self.state[keys[part]] for part in names}
        one, *rest = tensors.values()
        if one.ndim == 0 or any(other.shape != one.shape for other in rest):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors.values())
            self.found.broken[ours] = f"{', '.join(names.values())} have shapes {shapes}"
            return
        self.found.broken.pop(ours, None)
        joined = [torch.zeros_like(one) if p is None else tensors[p] for p in rule.parts]
        self.keep(ours, torch.cat(joined), *names.values())
