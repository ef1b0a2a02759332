"""What the options of plain ViTs share: the patch, which blocks and heads fit, and tiny sizes.

At the tiny sizes a CPU trains our backbones, on images of 128 pixels. All plain ViTs have the same
ones, so that they compare at this size too, with as many blocks as a Base, because ViT-Adapter's
tables divide them by up to six interactions.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

PATCH = 16
"""Side in pixels of the patch of one token."""

TINY_PIXELS = 128
"""Side of the images of a tiny recipe."""
TINY_GRID = TINY_PIXELS // PATCH
"""Tokens along a side of such an image."""

TINY_PYRAMID: Mapping[str, Any] = {"channels": 64, "norm": "bn"}
"""Width and normalisation of the pyramid."""

TINY_VIT: Mapping[str, Any] = {
    "width": 128,
    "depth": 12,
    "heads": 4,
    "drop_path": 0.0,
    "grid": TINY_GRID,
    "window": TINY_GRID // 2,
    "checkpoint_activations": False,
}
"""The plain ViT, with four windows in such an image."""


def quarter_ends(depth: int) -> list[int]:
    """The last block of each quarter of a transformer; `depth` is divisible by 4."""
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
        f"'backbone.width' {width} is not divisible by 'backbone.heads' {heads}: use one of "
        f"{allowed}"
    ]


def depth_for(groups: int) -> int:
    """Blocks of a ViT that divide into quarters and into `groups`, at least those of `TINY_VIT`."""
    return next(n for n in count(TINY_VIT["depth"], step=4) if n % max(1, groups) == 0)
