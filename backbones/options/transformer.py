"""What the options of plain ViTs share: patches of 16 pixels, and which blocks and heads fit."""

from collections.abc import Sequence

PATCH = 16
"""Side in pixels of what becomes one token."""


def quarter_ends(depth: int) -> list[int]:
    """The last block of each quarter of a transformer; `depth` divides by 4."""
    return [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]


def chosen_blocks(chosen: Sequence[int] | None, depth: int) -> frozenset[int]:
    """The blocks `chosen`; where it is None, the last one of each quarter."""
    return frozenset(quarter_ends(depth) if chosen is None else chosen)


def unfit_blocks(key: str, chosen: Sequence[int] | None, depth: int) -> list[str]:
    """What is wrong with the blocks that the option `key` names."""
    if chosen is None:
        wrong = f"a depth of {depth} has no quarters: list the blocks in '{key}'"
        return [wrong] if depth % 4 else []
    return [
        f"'{key}' names block {i}, the last one of a depth of {depth} is {depth - 1}"
        for i in chosen
        if not 0 <= i < depth
    ]


def unfit_heads(width: int, heads: int) -> list[str]:
    """What is wrong with the attention heads of tokens of `width`."""
    if width % heads == 0:
        return []
    allowed = ", ".join(str(n) for n in range(1, 33) if width % n == 0)
    return [
        f"'backbone.width' {width} does not divide by 'backbone.heads' {heads}: use one of "
        f"{allowed}"
    ]
