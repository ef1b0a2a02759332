"""Weights on disk are the whole of it: saved, loaded into another instance, the same maps."""

import torch
from safetensors.torch import load, save

from mimdet_cli.conformance.gradients import nudge
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, apart, batch, evaluated, maps_of


def state_round_trip(subject: Subject) -> Verdict:
    """Through safetensors as checkpoints are, strictly, after the weights have moved."""
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
        f"after loading, {name} is {apart(found[name], x):.2g} of its largest value apart, "
        "allowed 0"
        for name, x in expected.items()
        if not torch.equal(found[name], x)
    ]
    return Verdict(f"{len(backbone.state_dict())} tensors, {len(saved):,} bytes", tuple(broken))
