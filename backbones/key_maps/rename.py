"""Rename the keys of a checkpoint by rule: every key is renamed, dropped by rule, or unknown.

A map is a table of templates (`backbones.key_maps.template`), which are read from left to right for
a file, and from right to left for the names that a file would have. Nothing is guessed: a key that
no rule names is reported as unknown, and the loader refuses the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Size, Tensor

from backbones.key_maps.template import Template, TemplateError, choice, template


@dataclass(frozen=True, slots=True)
class Drop:
    """Marks keys that a map drops on purpose, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Marks keys of tensors that become one of ours, joined along their first axis.

    The hole `{part}` of the template matches one of `parts`, in the order in which they are joined;
    None means zeros in the shape of the others, where a layout omits a part.
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
"""What to do with the keys that a template matches; a string is the template of our key."""
Resize = Callable[[Tensor, Size], Tensor]


@dataclass(frozen=True, slots=True)
class ParsedRule:
    """A rule with its templates parsed: of the file's keys, and of ours unless they are dropped."""

    theirs: Template
    rule: Rule
    ours: Template | None

    @classmethod
    def of(cls, text: str, rule: Rule) -> "ParsedRule":
        """Parse one rule, or raise TemplateError."""
        if isinstance(rule, Stack):
            parts = choice(tuple(part for part in rule.parts if part is not None))
            theirs = template(text, ("part", parts))
            if "part" not in theirs.holes:
                raise TemplateError(f"'{text}' needs the hole '{{part}}', for the parts to stack.")
        elif isinstance(rule, str | Drop | Trim):
            theirs = template(text)
        else:
            raise TemplateError(
                f"'{text}' has the rule {rule!r}; give a template, Drop, Stack or Trim."
            )
        if isinstance(rule, Drop):
            return cls(theirs, rule, None)
        into = rule if isinstance(rule, str) else rule.into
        ours = template(into, *theirs.kinds.items())
        known = [hole for hole in theirs.holes if not isinstance(rule, Stack) or hole != "part"]
        if stray := [hole for hole in ours.holes if hole not in known]:
            has = f"has {', '.join(f'{{{hole}}}' for hole in known)}" if known else "has no holes"
            raise TemplateError(
                f"'{into}' has the hole '{{{stray[0]}}}', which '{text}' does not fill; it {has}."
            )
        return cls(theirs, rule, ours)

    @property
    def is_reversible(self) -> bool:
        """Whether our key says what the file's was."""
        if not isinstance(self.rule, str) or self.ours is None:
            return False
        return {*self.theirs.holes} == {*self.ours.holes}


@dataclass(frozen=True, slots=True)
class KeyMap:
    """How one published layout becomes ours.

    `rules`: template of the file's key -> template of our key, or another rule; the first that
        matches wins.
    `fresh`: templates of our keys that such a file never holds, though the backbone calls them
        pre-trained, so that their absence is expected.
    `resize`: template of our key -> function that resizes a tensor to the model's shape; it
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
    parsed: tuple[ParsedRule, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse every template, so that a wrong one is reported where the map is written."""
        parsed = tuple(ParsedRule.of(text, rule) for text, rule in self.rules.items())
        object.__setattr__(self, "parsed", parsed)
        for text in (*self.fresh, *self.resize):
            template(text)

    def is_fresh(self, key: str) -> bool:
        """Whether our `key` is expected to keep its initial value."""
        return any(template(text).match(key) is not None for text in self.fresh)

    def resizer(self, key: str) -> Resize | None:
        """The function that may change the shape of our `key`."""
        fitting = (f for text, f in self.resize.items() if template(text).match(key) is not None)
        return next(fitting, None)

    def place(self, key: str) -> tuple[ParsedRule, dict[str, str]] | None:
        """The rule for the file's `key`, and the values of its holes; None if none matches."""
        for parsed in self.parsed:
            holes = parsed.theirs.match(key)
            if holes is not None:
                return parsed, holes
        return None


def published_names(key: str, key_map: KeyMap) -> list[str]:
    """The file's keys that become our `key`, in the order of the rules.

    Only templates on both sides are reversed, and only with the same holes: a key that only another
    rule makes has no name.
    """
    names = []
    for rule in key_map.parsed:
        holes = rule.ours.match(key) if rule.ours is not None and rule.is_reversible else None
        if holes is None:
            continue
        name = rule.theirs.fill(holes)
        place = key_map.place(name)
        if place is not None and place[0] is rule:  # else an earlier rule takes the name
            names.append(name)
    return names


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
        return _Table(state).apply(key_map)
    first = rename(state, key_map.through)
    second = _Table(first.kept).apply(key_map)
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

    def apply(self, key_map: KeyMap) -> Renamed:
        """Every key by the first rule that names it."""
        unknown = []
        for key in self.state:
            place = key_map.place(key)
            if place is None:
                unknown.append(key)
            else:
                self.follow(key, *place)
        found = self.found
        return Renamed(found.kept, found.dropped, tuple(unknown), found.broken, found.sources)

    def follow(self, key: str, parsed: ParsedRule, holes: Mapping[str, str]) -> None:
        """Apply the rule of `key`."""
        rule = parsed.rule
        if isinstance(rule, Drop):
            self.found.dropped[key] = rule.reason
            return
        assert parsed.ours is not None
        ours = parsed.ours.fill(holes)
        if isinstance(rule, Trim):
            self.trim(key, ours, rule)
        elif isinstance(rule, Stack):
            self.stacks.setdefault(ours, {})[holes["part"]] = key
            parts = (part for part in rule.parts if part is not None)
            self.stack(ours, {p: parsed.theirs.fill({**holes, "part": p}) for p in parts}, rule)
        else:
            self.keep(ours, self.state[key], key)

    def keep(self, ours: str, tensor: Tensor, *keys: str) -> None:
        """Take `tensor` as our parameter, once."""
        if ours in self.found.kept:
            claims = (f"'{', '.join(names)}'" for names in (keys, self.found.sources[ours]))
            self.found.broken[ours] = f"{' and '.join(claims)} both map to it"
            return
        self.found.kept[ours] = tensor
        self.found.sources[ours] = keys

    def trim(self, key: str, ours: str, rule: Trim) -> None:
        """Drop the last rows."""
        tensor = self.state[key]
        if tensor.ndim == 0 or len(tensor) <= rule.rows:
            self.found.broken[ours] = f"'{key}' has shape {tuple(tensor.shape)}"
            return
        self.keep(ours, tensor[: -rule.rows], key)
        self.found.dropped[f"{key}[-{rule.rows}:]"] = rule.reason

    def stack(self, ours: str, names: Mapping[str, str], rule: Stack) -> None:
        """Join the parts of `ours` once all are there; `names` are the file's keys by part."""
        keys = self.stacks[ours]
        absent = [name for part, name in names.items() if part not in keys]
        if absent:
            self.found.broken[ours] = f"the file has no {', '.join(absent)}"
            return
        tensors = {part: self.state[keys[part]] for part in names}
        first, *rest = tensors.values()
        if first.ndim == 0 or any(other.shape != first.shape for other in rest):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors.values())
            self.found.broken[ours] = f"{', '.join(names.values())} have shapes {shapes}"
            return
        self.found.broken.pop(ours, None)
        joined = [torch.zeros_like(first) if p is None else tensors[p] for p in rule.parts]
        self.keep(ours, torch.cat(joined), *names.values())
