"""The same image gives the same maps: in any batch, every time, and from the same seed."""

import torch
from torch import Tensor

from backbones.contract import Backbone
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import (
    FLOAT32,
    Subject,
    apart,
    batch,
    evaluated,
    maps_of,
    several,
)

SHAPES = ((96, 128), (64, 96), (33, 127))


def batch_invariance(subject: Subject) -> Verdict:
    """Each image of a batch against itself alone, on the same canvas."""
    backbone = subject.build()
    images, sizes = batch(backbone, SHAPES)
    together = evaluated(backbone, images, sizes)
    worst, broken = 0.0, []
    for i in range(len(images)):
        alone = evaluated(backbone, images[i : i + 1], sizes[i : i + 1])
        for name, found in together.items():
            difference = apart(found[i : i + 1], alone[name])
            worst = max(worst, difference)
            if not difference <= FLOAT32:
                broken.append(
                    f"image {i + 1} of {len(images)}: {name} differs from what it is alone by "
                    f"{difference:.2g} of its largest value, allowed {FLOAT32:g}"
                )
    return Verdict(f"{worst:.1g} apart, allowed {FLOAT32:g}", tuple(broken))


def determinism(subject: Subject) -> Verdict:
    """Twice the same in evaluation without a seed; in training, and at birth, from one seed."""
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
    return Verdict("equal bit for bit", tuple(broken))


def _weights(one: Backbone, other: Backbone) -> list[str]:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    differing = [name for (name, a), b in pairs if not torch.equal(a, b)]
    if not differing:
        return []
    return [f"two instances from one seed differ in {len(differing)} tensors: {several(differing)}"]


def _unequal(when: str, first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    return [
        f"{when} gives another {name}, {apart(second[name], expected):.2g} of its largest value "
        "apart, allowed 0"
        for name, expected in first.items()
        if not torch.equal(expected, second[name])
    ]
