"""Rename the keys of a checkpoint by rule: every key is renamed, dropped by rule, or unknown.

A map is a table of full-match patterns. Nothing is guessed: a key that no rule names is reported
as unknown, and the loader refuses the file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Size, Tensor


class Drop:
    """Marks keys that a map leaves behind on purpose, with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


Resize = Callable[[Tensor, Size], Tensor]


@dataclass(frozen=True, slots=True)
class KeyMap:
    """How one published layout becomes ours.

    `rules`: pattern of the file's key -> our key (with group references), or `Drop`; the first
        match wins.
    `fresh`: patterns of our keys that such a file never holds, so that their absence is expected.
    `resize`: pattern of our key -> function that brings a tensor to the shape the model has.
    `unwrap`: key under which a `.pth` file may keep the weights, or None.
    `head`: for files of whole detectors, the layout of the head (`heads.key_maps`); None for
        files that hold a backbone alone.
    """

    rules: Mapping[str, str | Drop]
    fresh: tuple[str, ...] = ()
    resize: Mapping[str, Resize] = field(default_factory=dict)
    unwrap: str | None = None
    head: str | None = None

    def is_fresh(self, key: str) -> bool:
        """Whether our `key` is expected to keep its initial value."""
        return any(re.fullmatch(pattern, key) for pattern in self.fresh)

    def resizer(self, key: str) -> Resize | None:
        """The function that may change the shape of our `key`."""
        return next((f for pattern, f in self.resize.items() if re.fullmatch(pattern, key)), None)


@dataclass(frozen=True, slots=True)
class Renamed:
    """A checkpoint after renaming: what is kept, what was dropped and why, what no rule names."""

    kept: dict[str, Tensor]
    dropped: dict[str, str]
    unknown: tuple[str, ...]
    source_of: dict[str, str]


def rename(state: Mapping[str, Tensor], key_map: KeyMap) -> Renamed:
    """Apply `key_map` to a state dict; tensors are passed through, not copied."""
    rules = [(re.compile(pattern), target) for pattern, target in key_map.rules.items()]
    kept: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    unknown: list[str] = []
    source_of: dict[str, str] = {}
    for key, tensor in state.items():
        match, target = next(
            ((found, target) for rule, target in rules if (found := rule.fullmatch(key))),
            (None, None),
        )
        if match is None or target is None:
            unknown.append(key)
        elif isinstance(target, Drop):
            dropped[key] = target.reason
        else:
            ours = match.expand(target)
            if ours in kept:
                raise ValueError(f"'{key}' and '{source_of[ours]}' both become '{ours}'")
            kept[ours] = tensor
            source_of[ours] = key
    return Renamed(kept, dropped, tuple(unknown), source_of)
