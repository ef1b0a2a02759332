"""It builds from its options, and they say all there is to say about it."""

import json

from backbones.contract import Backbone
from mimdet_cli.backbone_class import breach
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, several


def builds(subject: Subject) -> Verdict:
    """The class keeps this version of the contract, and its options make an instance of it."""
    kind = subject.kind
    wrong = breach(kind)
    if wrong is not None:
        what, fix = wrong
        return Verdict("", (f"it {what}", fix))
    made = subject.build()
    count = sum(parameter.numel() for parameter in made.parameters())
    size = "its own options" if subject.tiny is None else "its tiny size"
    return Verdict(f"{count:,} parameters at {size}")


def options_round_trip(subject: Subject) -> Verdict:
    """Options written to a recipe and read back are equal, and give the same parameters."""
    options = subject.options
    written = json.dumps(options.model_dump(mode="json"))
    again = type(options).model_validate_json(written, strict=True)
    changed = [
        f"'{name}' is {getattr(options, name)!r}, written and read it is {getattr(again, name)!r}"
        for name in type(options).model_fields
        if getattr(options, name) != getattr(again, name)
    ]
    before = _shapes(subject.kind(options))
    after = _shapes(subject.kind(again))
    differing = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
    if differing:
        changed.append(f"{len(differing)} parameters differ in shape: {several(differing)}")
    return Verdict(f"{len(type(options).model_fields)} options", tuple(changed))


def _shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}
