"""The promised levels are what the head needs, and are kept at every size."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from backbones.contract import Backbone, Level, Padding
from mimdet_cli.conformance.crash import told
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import ORDINARY, Subject, batch, evaluated, pixels

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SIZES = {
    "ordinary": ORDINARY,
    "odd": ((97, 131), (61, 45)),
    "one pixel": ((1, 1),),
    "very wide": ((1, 641),),
    "very tall": ((641, 1),),
}


def levels(subject: Subject) -> Verdict:
    """The declaration first, then the maps of each kind of size."""
    backbone = subject.build()
    declared = list(wrong_declaration(backbone))
    if declared:
        return Verdict("", tuple(declared))
    broken: list[str] = []
    for name, shapes in SIZES.items():
        images, sizes = batch(backbone, shapes)
        try:
            maps = evaluated(backbone, images, sizes)
        except Exception as error:  # of this size alone: the others are told too
            found = [told(error, subject.kind)]
        else:
            found = list(wrong_maps(backbone, images, maps))
        place = f"{name}, padded to {pixels(images.shape[-2:])}"
        broken += [f"{place}: {one}" for one in found]
    return Verdict(f"{len(SIZES)} kinds of size", tuple(broken))


def wrong_declaration(backbone: Backbone) -> Iterator[str]:
    """What the head cannot use in `levels` and `padding`."""
    declared = getattr(backbone, "levels", ())
    if not all(isinstance(level, Level) for level in declared):
        yield f"levels are {declared!r}, not Level records"
        return
    if (strides := {level.name: level.stride for level in declared}) != STRIDES:
        yield f"levels have the strides {strides}, the head needs {STRIDES}"
    if len(widths := {level.channels for level in declared}) > 1:
        yield f"levels have {sorted(widths)} channels, the head needs one width"
    padding = getattr(backbone, "padding", None)
    if not isinstance(padding, Padding):
        yield f"padding is {padding!r}, not a Padding record"
    elif padding.multiple < 1 or (padding.square is not None and padding.square < 1):
        yield f"padding is {padding}, which is no size"


def wrong_maps(backbone: Backbone, images: Tensor, maps: Mapping[str, Tensor]) -> Iterator[str]:
    """Maps that are not there, not of the promised shape, or not numbers."""
    promised = [level.name for level in backbone.levels]
    if list(maps) != promised:
        yield f"maps are {list(maps)}, promised in this order: {promised}"
        return
    count, _, height, width = images.shape
    for level in backbone.levels:
        found = maps[level.name]
        side = level.stride
        shape = (count, level.channels, -(-height // side), -(-width // side))
        if tuple(found.shape) != shape:
            yield f"{level.name} is {tuple(found.shape)}, promised {shape}"
        elif not found.is_floating_point():
            yield f"{level.name} is {found.dtype}, promised floating-point numbers"
        elif wrong := int((~torch.isfinite(found)).sum()):
            yield f"{level.name} has {wrong} of {found.numel()} values that are not finite"
