"""It computes, and changes nothing else: neither its input nor what the process shares."""

from collections.abc import Callable

import torch

from mimdet_cli.conformance.gradients import backward
from mimdet_cli.conformance.promise import Verdict
from mimdet_cli.conformance.subject import Subject, batch
from mimdet_cli.conformance.surroundings import SETTINGS, changes, preserved, read_all

SEED = 8191
"""One that nobody else sets: a seed of 0 could not be told from a backbone's own."""


def global_state(subject: Subject) -> Verdict:
    """Everything shared, before and after construction, evaluation and training.

    torch's random numbers may be drawn, which is how weights and dropped paths come about; they
    may not be seeded.
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
            broken += [f"{name}: {one}" for one in changes(before, read_all())]
    return Verdict(f"{len(SETTINGS)} settings in {len(stages)} stages", tuple(broken))


def inputs(subject: Subject) -> Verdict:
    """The head goes on with the same `sizes`, and a batch may be seen twice."""
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
    return Verdict("images and sizes", tuple(broken))
