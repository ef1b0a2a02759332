"""It leaves no traces: not in its input, nor in global state, nor in memory."""

import gc
import weakref
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

from mimdet_cli.conformance.promise import Finding, promise
from mimdet_cli.conformance.subject import Subject, backward, batch, evaluated, several
from mimdet_cli.conformance.surroundings import SETTINGS, changes, preserved, read_all

SEED = 8191
"""A seed that a backbone is unlikely to set itself."""
PASSES = 4


@promise(
    "inputs",
    "a forward pass does not modify images or sizes",
    fix="avoid in-place operations on the inputs: write `x = x + y`, not `x += y`.",
)
def inputs(subject: Subject) -> Finding:
    """The head uses the same `sizes` afterwards, and a batch may be used twice."""
    backbone = subject.build()
    images, sizes = batch(backbone)
    before = images.clone(), sizes.clone()
    broken = []
    for mode in ("evaluation", "training"):
        backbone.train(mode == "training")
        with torch.no_grad():
            backbone(images, sizes)
        for name, was, now in zip(("images", "sizes"), before, (images, sizes), strict=True):
            if changed := int((was != now).sum()):
                broken.append(f"in {mode}, {changed} of {was.numel()} values of `{name}` changed")
                now.copy_(was)
    return Finding("images and sizes", tuple(broken))


@promise(
    "globals",
    "importing, building and running it changes no global state",
    fix="leave global settings to the recipe and the user; use torch's generator without seeding "
    "it.",
)
def global_state(subject: Subject) -> Finding:
    """Every global setting, before and after construction, evaluation and training.

    torch's generator may be used, as weights and dropped paths need it, but not seeded.
    """
    with preserved():
        backbone = subject.build()
    images, sizes = batch(backbone)

    def evaluate() -> None:
        backbone.eval()
        with torch.inference_mode():
            backbone(images, sizes)

    stages: dict[str, Callable[[], object]] = {
        "constructing it": lambda: subject.kind(subject.options),
        "a pass in evaluation": evaluate,
        "a pass in training": lambda: backward(backbone.train(), images, sizes, SEED),
    }
    broken: list[str] = []
    for name, stage in stages.items():
        with preserved():
            torch.manual_seed(SEED)
            before = read_all()
            stage()
            broken += [f"{name}: {change}" for change in changes(before, read_all())]
    return Finding(f"{len(SETTINGS)} settings in {len(stages)} stages", tuple(broken))


@promise(
    "memory",
    "a deleted instance is freed, and passes leave nothing behind",
    fix="keep instances and maps out of global lists and caches, including `functools.cache` on "
    "methods.",
)
def memory(subject: Subject) -> Finding:
    """Tensors counted by the garbage collector: after passes, and after the instance is gone."""
    gc.freeze()  # what was there before need not be looked through
    try:
        return _measured(subject)
    finally:
        gc.unfreeze()


def _measured(subject: Subject) -> Finding:
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
            f"{bytes_after - bytes_before:,} bytes; allowed: those of one pass"
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
    return Finding(f"{len(watched)} tensors freed", tuple(broken))


def _tensors() -> tuple[int, int]:
    """How many tensors there are, and their bytes."""
    gc.collect()
    found = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
    sizes = [t.numel() * t.element_size() for t in found if t.layout == torch.strided]
    return len(found), sum(sizes)
