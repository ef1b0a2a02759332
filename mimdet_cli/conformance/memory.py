"""What it took is given back: nothing survives an instance, and nothing piles up in it."""

import gc
import weakref
from itertools import chain

import torch
from torch import Tensor

from mimdet_cli.conformance.gradients import backward
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, batch, evaluated, several

PASSES = 4


def memory(subject: Subject) -> Verdict:
    """Tensors counted by the garbage collector: after passes, and after the instance is gone."""
    gc.freeze()  # what was there before need not be looked through
    try:
        return _measured(subject)
    finally:
        gc.unfreeze()


def _measured(subject: Subject) -> Verdict:
    backbone = subject.build()
    images, sizes = batch(backbone)
    backward(backbone, images, sizes)
    evaluated(backbone, images, sizes)
    before, bytes_before = _tensors()
    for _ in range(PASSES):
        evaluated(backbone, images, sizes)
        backbone.train()
        backbone(images, sizes)
    after, bytes_after = _tensors()
    broken = []
    if after - before >= PASSES:
        broken.append(
            f"{PASSES} passes over one batch left {after - before} more tensors, "
            f"{bytes_after - bytes_before:,} bytes; allowed: those of a single pass"
        )
    named = chain(backbone.named_parameters(), backbone.named_buffers())
    watched = {name: weakref.ref(tensor) for name, tensor in named}
    del backbone, named
    gc.collect()
    alive = [name for name, reference in watched.items() if reference() is not None]
    if alive:
        broken.append(
            f"{len(alive)} of {len(watched)} tensors outlive the instance: {several(alive)}"
        )
    return Verdict(f"{len(watched)} tensors freed", tuple(broken))


def _tensors() -> tuple[int, int]:
    """How many tensors there are, and their bytes."""
    gc.collect()
    found = [one for one in gc.get_objects() if issubclass(type(one), Tensor)]
    sizes = [t.numel() * t.element_size() for t in found if t.layout == torch.strided]
    return len(found), sum(sizes)
