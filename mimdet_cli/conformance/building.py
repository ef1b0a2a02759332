"""It builds from its options; options and weights survive being saved and loaded."""

import json

import torch
from safetensors.torch import load, save

from backbones.contract import Backbone
from mimdet_cli.backbone_class import breach
from mimdet_cli.conformance.promise import Finding, promise
from mimdet_cli.conformance.subject import (
    Subject,
    apart,
    batch,
    evaluated,
    maps_of,
    nudge,
    several,
)


@promise(
    "builds",
    "builds from its options",
    fix="let `__init__(self, options)` build the model from the defaults of `Options`, or from the "
    "values that `tiny` returns.",
)
def builds(subject: Subject) -> Finding:
    """The class is of this version of the contract, and its options make an instance."""
    kind = subject.kind
    wrong = breach(kind)
    if wrong is not None:
        what, fix = wrong
        return Finding("", (f"it {what}", fix))
    made = subject.build()
    count = sum(parameter.numel() for parameter in made.parameters())
    size = "its own options" if subject.tiny is None else "its tiny size"
    return Finding(f"{count:,} parameters at {size}")


@promise(
    "options",
    "options survive being saved and read back, and build the same parameters",
    fix="validators may reject values but never change them; exclude no field.",
)
def options(subject: Subject) -> Finding:
    """Options written as JSON and read back are equal, and build the same parameters."""
    given = subject.options
    written = json.dumps(given.model_dump(mode="json"))
    again = type(given).model_validate_json(written, strict=True)
    changed = [
        f"'{name}' is {getattr(given, name)!r}, but read back as {getattr(again, name)!r}"
        for name in type(given).model_fields
        if getattr(given, name) != getattr(again, name)
    ]
    before = _shapes(subject.kind(given))
    after = _shapes(subject.kind(again))
    differing = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    if differing:
        changed.append(f"{len(differing)} parameters differ in shape: {several(differing)}")
    return Finding(f"{len(type(given).model_fields)} options", tuple(changed))


def _shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}


@promise(
    "state",
    "saved weights give the same maps in a new instance",
    fix="keep everything that the maps depend on in parameters and persistent buffers, and "
    "register no "
    "tensor under two names.",
    needs=("determinism", "levels"),
)
def state(subject: Subject) -> Finding:
    """Through safetensors, strictly, as checkpoints are, after the weights have changed."""
    backbone = subject.build(seed=0).train()
    nudge(backbone)
    images, sizes = batch(backbone)
    with torch.no_grad():
        maps_of(backbone, images, sizes)  # running statistics move
    saved = save({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()})
    other = subject.build(seed=1)
    other.load_state_dict(load(saved), strict=True)
    expected = evaluated(backbone, images, sizes)
    found = evaluated(other, images, sizes)
    broken = [
        f"after loading, {name} differs by {apart(found[name], x):.2g} of its largest value, "
        "allowed 0"
        for name, x in expected.items()
        if not torch.equal(found[name], x)
    ]
    return Finding(f"{len(backbone.state_dict())} tensors, {len(saved):,} bytes", tuple(broken))
