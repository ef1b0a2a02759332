"""Half precision: close to float32, and finite in both directions."""

import torch
from torch import Tensor

from mimdet_cli.conformance.gradients import backward
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, batch, evaluated, several

BF16 = 0.05
"""Distance in the L2 norm; bfloat16 rounds to 0.4 %, and a few dozen layers add up to 1 or 2 %."""


def bf16(subject: Subject) -> Verdict:
    """Maps and gradients under autocast on the CPU."""
    backbone = subject.build()
    images, sizes = batch(backbone)
    expected = evaluated(backbone, images, sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = evaluated(backbone, images, sizes)
    distances = {name: _distance(found[name], x) for name, x in expected.items()}
    broken = [
        f"{name} is {distance:.2g} from float32 in the L2 norm, allowed {BF16:g}"
        for name, distance in distances.items()
        if not distance <= BF16
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
    return Verdict(f"{max(distances.values()):.2g} apart, allowed {BF16:g}", tuple(broken))


def _distance(found: Tensor, expected: Tensor) -> float:
    difference = (found.float() - expected.float()).norm()
    return float(difference / expected.float().norm().clamp_min(1e-12))
