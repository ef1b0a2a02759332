"""A training pass reaches every parameter that is not declared frozen."""

import torch
from torch import Tensor

from backbones.contract import Backbone
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, batch, maps_of, several

PASSES = 4
NUDGE = 0.02


def gradients(subject: Subject) -> Verdict:
    """Passes with other random numbers each, until nothing is missing.

    One pass may leave a parameter out by chance, such as a path that stochastic depth drops. And
    all are nudged before, since a factor that starts at zero hides what stands behind it.
    """
    backbone = subject.build().train()
    nudge(backbone)
    trainable = [name for name, p in backbone.named_parameters() if p.requires_grad]
    if not trainable:
        return Verdict("", ("no parameter is trainable",))
    missing = dict.fromkeys(trainable, "none at all")
    not_finite: set[str] = set()
    passes = 0
    while missing and passes < PASSES:
        backbone.zero_grad(set_to_none=True)
        backward(backbone, *batch(backbone, seed=passes), seed=passes)
        passes += 1
        for name, parameter in backbone.named_parameters():
            if parameter.grad is None or name not in trainable:
                continue
            if not torch.isfinite(parameter.grad).all():
                not_finite.add(name)
            if parameter.grad.count_nonzero():
                missing.pop(name, None)
            elif name in missing:
                missing[name] = "zeros only"
    broken = [
        f"{len(names)} of {len(trainable)} trainable parameters get {what}: {several(names)}"
        for what in ("none at all", "zeros only")
        if (names := [name for name in trainable if missing.get(name) == what])
    ]
    if not_finite:
        broken.append(f"gradients that are not finite: {several(sorted(not_finite))}")
    return Verdict(f"{len(trainable)} tensors in {passes} passes", tuple(broken))


def nudge(backbone: Backbone) -> None:
    """Move every trainable parameter a little, by seed."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=NUDGE)


def backward(backbone: Backbone, images: Tensor, sizes: Tensor, seed: int = 0) -> None:
    """Gradients of a random weighing of all maps: no normalisation can make it constant."""
    maps = maps_of(backbone, images, sizes, seed)
    generator = torch.Generator().manual_seed(seed)
    torch.autograd.backward(
        [x for x in maps.values() if x.requires_grad],
        [
            torch.randn(x.shape, generator=generator).to(x.dtype)
            for x in maps.values()
            if x.requires_grad
        ],
    )
