"""`torch.compile` and `torch.export` take it, and what they make of it computes the same."""

from collections.abc import Callable

import torch
from torch import Tensor

from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import FLOAT32, Subject, apart, batch, maps_of


def compiles(subject: Subject) -> Verdict:
    """`torch.compile(backend="eager")`: traced by dynamo, computed as before."""
    torch.compiler.reset()
    try:
        return _compared(subject, lambda module, _: torch.compile(module, backend="eager"))
    finally:
        torch.compiler.reset()


def exports(subject: Subject) -> Verdict:
    """`torch.export.export` at one fixed size, without dynamo (`strict=False`)."""
    return _compared(
        subject,
        lambda module, inputs: torch.export.export(module, inputs, strict=False).module(),
    )


Traced = Callable[[torch.nn.Module, tuple[Tensor, Tensor]], Callable[..., dict[str, Tensor]]]


def _compared(subject: Subject, trace: Traced) -> Verdict:
    backbone = subject.build().eval()
    inputs = batch(backbone)
    with torch.no_grad():
        expected = maps_of(backbone, *inputs)
        traced = trace(backbone, inputs)
        torch.manual_seed(0)
        found = traced(*inputs)
    if list(found) != list(expected):
        return Verdict("", (f"maps are {list(found)} once traced, {list(expected)} before",))
    differences = {name: apart(found[name], x) for name, x in expected.items()}
    broken = [
        f"{name} is {difference:.2g} of its largest value apart once traced, allowed {FLOAT32:g}"
        for name, difference in differences.items()
        if not difference <= FLOAT32
    ]
    return Verdict(f"{max(differences.values()):.1g} apart, allowed {FLOAT32:g}", tuple(broken))
