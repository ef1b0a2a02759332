"""Sizes at which a CPU trains our backbones on images of 128 pixels, for their `tiny`.

All plain ViTs have the same one, so that backbones compare at this size too. It has as many blocks
as a Base, because ViT-Adapter's tables divide them by up to six interactions.
"""

from collections.abc import Mapping
from itertools import count
from typing import Any

PIXELS = 128
GRID = PIXELS // 16
"""Tokens along a side of such an image."""

PYRAMID: Mapping[str, Any] = {"channels": 64, "norm": "bn"}
"""Width and normalisation of the pyramid."""

VIT: Mapping[str, Any] = {
    "width": 128,
    "depth": 12,
    "heads": 4,
    "drop_path": 0.0,
    "grid": GRID,
    "window": GRID // 2,
    "checkpoint_activations": False,
}
"""The plain ViT, with four windows in such an image."""


def depth_for(groups: int) -> int:
    """Blocks of a ViT that divide into quarters and into `groups`, at least those of `VIT`."""
    return next(n for n in count(VIT["depth"], step=4) if n % max(1, groups) == 0)
