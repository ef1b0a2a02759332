"""The maps: their shapes at every size, and their values in any batch, dtype or tracing mode."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from backbones.contract import Backbone, Level, Padding
from mimdet_cli.conformance.promise import Finding, in_one_line, promise
from mimdet_cli.conformance.subject import (
    FLOAT32,
    ORDINARY,
    Subject,
    apart,
    backward,
    batch,
    evaluated,
    maps_of,
    pixels,
    several,
)

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
SIZES = {
    "ordinary": ORDINARY,
    "odd": ((97, 131), (61, 45)),
    "one pixel": ((1, 1),),
    "very wide": ((1, 641),),
    "very tall": ((641, 1),),
}
UNEQUAL = ((96, 128), (64, 96), (33, 127))
BF16_L2 = 0.05
"""Distance in the L2 norm; bfloat16 rounds to 0.4 %, and a few dozen layers add up to 1 or 2 %."""


@promise(
    "levels",
    "p2 to p5 have the declared shapes at ordinary, odd and extreme image sizes",
    fix="return every level of `levels` with ceil(H / stride) x ceil(W / stride) cells; if the "
    "architecture needs larger or aligned images, declare it in `padding`.",
)
def levels(subject: Subject) -> Finding:
    """The declaration first, then the maps at each kind of size."""
    backbone = subject.build()
    declared = list(wrong_declaration(backbone))
    if declared:
        return Finding("", tuple(declared))
    broken: list[str] = []
    for name, shapes in SIZES.items():
        images, sizes = batch(backbone, shapes)
        try:
            maps = evaluated(backbone, images, sizes)
        except Exception as error:  # the other sizes are still checked
            found = [in_one_line(error, subject.kind)]
        else:
            found = list(wrong_maps(backbone, images, maps))
        place = f"{name}, padded to {pixels(images.shape[-2:])}"
        broken += [f"{place}: {breach}" for breach in found]
    return Finding(f"{len(SIZES)} kinds of size", tuple(broken))


def wrong_declaration(backbone: Backbone) -> Iterator[str]:
    """What the head cannot use of `levels` and `padding`."""
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
        yield f"padding is {padding}, which is not a size"


def wrong_maps(backbone: Backbone, images: Tensor, maps: Mapping[str, Tensor]) -> Iterator[str]:
    """Maps that are missing, of another shape than promised, or not finite."""
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
            yield f"{level.name} is {found.dtype}, promised floating point"
        elif wrong := int((~torch.isfinite(found)).sum()):
            yield f"{level.name} has {wrong} of {found.numel()} values that are not finite"


@promise(
    "batch",
    "in evaluation, an image's maps do not depend on the other images in the batch",
    fix="in evaluation, normalise and average within each image, not across the batch.",
    needs=("determinism", "levels"),
)
def batch_invariance(subject: Subject) -> Finding:
    """Each image of a batch against itself alone, on the same canvas."""
    backbone = subject.build()
    images, sizes = batch(backbone, UNEQUAL)
    together = evaluated(backbone, images, sizes)
    worst, broken = 0.0, []
    for i in range(len(images)):
        alone = evaluated(backbone, images[i : i + 1], sizes[i : i + 1])
        for name, found in together.items():
            difference = apart(found[i : i + 1], alone[name])
            worst = max(worst, difference)
            if not difference <= FLOAT32:
                broken.append(
                    f"image {i + 1} of {len(images)}: {name} differs from the image on its own "
                    f"by {difference:.2g} of the largest value, allowed {FLOAT32:g}"
                )
    return Finding(f"{worst:.1g} apart, allowed {FLOAT32:g}", tuple(broken))


@promise(
    "determinism",
    "the same input and seed give the same maps; evaluation needs no seed",
    fix="use random numbers in training only, from torch's global generator, and carry no "
    "random state from one pass to the next.",
    needs=("inputs",),
)
def determinism(subject: Subject) -> Finding:
    """Bit for bit: two passes in evaluation; two in training, and two instances, from one seed."""
    backbone = subject.build(seed=3)
    images, sizes = batch(backbone)
    broken = _weights(backbone, subject.build(seed=3))
    first = evaluated(backbone, images, sizes, seed=1)
    broken += _unequal("in evaluation, a second pass", first, evaluated(backbone, images, sizes, 2))
    backbone.train()
    with torch.no_grad():
        first = maps_of(backbone, images, sizes)
        second = maps_of(backbone, images, sizes)
    broken += _unequal("in training, a second pass from the same seed", first, second)
    return Finding("equal bit for bit", tuple(broken))


def _weights(first: Backbone, second: Backbone) -> list[str]:
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    differing = [name for (name, a), b in pairs if not torch.equal(a, b)]
    if not differing:
        return []
    return [f"two instances from one seed differ in {len(differing)} tensors: {several(differing)}"]


def _unequal(when: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    return [
        f"{when} changes {name} by {apart(second[name], expected):.2g} of its largest value, "
        "allowed 0"
        for name, expected in first.items()
        if not torch.equal(expected, second[name])
    ]


@promise(
    "bf16",
    "under bfloat16 autocast on a CPU, maps stay close to float32 and gradients finite",
    fix="create tensors in the dtype of those they are combined with, and compute positions in "
    "float32.",
    needs=("levels", "determinism"),
)
def bf16(subject: Subject) -> Finding:
    """Maps and gradients under autocast on the CPU."""
    backbone = subject.build()
    images, sizes = batch(backbone)
    expected = evaluated(backbone, images, sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = evaluated(backbone, images, sizes)
    distances = {name: _distance(found[name], x) for name, x in expected.items()}
    broken = [
        f"{name} differs from float32 by {distance:.2g} in the L2 norm, allowed {BF16_L2:g}"
        for name, distance in distances.items()
        if not distance <= BF16_L2
    ]
    backbone.train()
    with torch.autocast("cpu", torch.bfloat16):
        backward(backbone, images, sizes)
    wrong = [
        name
        for name, parameter in backbone.named_parameters()
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
    ]
    if wrong:
        broken.append(f"{len(wrong)} gradients are not finite: {several(wrong)}")
    return Finding(f"{max(distances.values()):.2g} apart, allowed {BF16_L2:g}", tuple(broken))


def _distance(found: Tensor, expected: Tensor) -> float:
    difference = (found.float() - expected.float()).norm()
    return float(difference / expected.float().norm().clamp_min(1e-12))


Traced = Callable[[torch.nn.Module, tuple[Tensor, Tensor]], Callable[..., dict[str, Tensor]]]


@promise(
    "compile",
    'torch.compile(backend="eager") computes the same maps',
    fix="use tensor operations only in `forward`, the same ones with and without the compiler.",
    needs=("levels", "determinism"),
)
def compiles(subject: Subject) -> Finding:
    """Traced by dynamo, computed eagerly."""
    torch.compiler.reset()
    try:
        return _compared(subject, lambda module, _: torch.compile(module, backend="eager"))
    finally:
        torch.compiler.reset()


@promise(
    "export",
    "torch.export computes the same maps at a fixed size",
    fix="do not branch on tensor values in `forward`: no `if x.mean() > 0`, no `.item()`.",
    needs=("levels", "determinism"),
)
def exports(subject: Subject) -> Finding:
    """`torch.export.export` at one fixed size, without dynamo (`strict=False`)."""
    return _compared(
        subject,
        lambda module, inputs: torch.export.export(module, inputs, strict=False).module(),
    )


def _compared(subject: Subject, trace: Traced) -> Finding:
    backbone = subject.build().eval()
    inputs = batch(backbone)
    with torch.no_grad():
        expected = maps_of(backbone, *inputs)
        traced = trace(backbone, inputs)
        torch.manual_seed(0)
        found = traced(*inputs)
    if list(found) != list(expected):
        return Finding("", (f"once traced, maps are {list(found)}, promised {list(expected)}",))
    differences = {name: apart(found[name], x) for name, x in expected.items()}
    broken = [
        f"{name} differs by {difference:.2g} of its largest value once traced, allowed {FLOAT32:g}"
        for name, difference in differences.items()
        if not difference <= FLOAT32
    ]
    return Finding(f"{max(differences.values()):.1g} apart, allowed {FLOAT32:g}", tuple(broken))
