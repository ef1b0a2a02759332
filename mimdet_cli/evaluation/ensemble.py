"""Evaluation of a model that draws its tokens at random: seeded image by image, pass by pass.

What an image's evaluation draws depends on the seed, the image's pixels and the number of the pass
only: not on its name or id, the batch, the order of the images, or how many processes share them.
So `mimdet eval`, `mimdet predict` and the Python API see the same tokens of an image. An image goes
through the model alone, which also keeps the padding of a larger neighbour, of which a share would
be drawn, away from it. The first passes of many evaluations are those of fewer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.ensemble import detect_together
from heads.instances import Detections
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.seeding import own_random_numbers


@dataclass(frozen=True, slots=True)
class Draws:
    """The seed of what is drawn, and how many evaluations of an image are merged."""

    seed: int
    evals: int = 1


def detect_drawn(
    model: MaskRCNN, images: Sequence[Tensor], digests: Sequence[str], draws: Draws
) -> list[Detections]:
    """Detections of (3, h, w) images, merged from `draws.evals` evaluations of each.

    `digests` are what `digest` gives for each image.
    """
    found = []
    for image, own in zip(images, digests, strict=True):

        def before(number: int, own: str = own) -> None:
            torch.manual_seed(seed_of(draws.seed, own, number))

        with own_random_numbers():
            found += detect_together(model, [image], draws.evals, before)
    return found


def digest(image: Tensor) -> str:
    """What tells an image (3, h, w) uint8 on the CPU from any other."""
    content = hashlib.sha256(str(tuple(image.shape)).encode())
    content.update(image.contiguous().numpy().data)
    return content.hexdigest()


def seed_of(seed: int, image: str, number: int) -> int:
    """The seed of pass `number` over the image of that digest, below 2**63."""
    drawn = hashlib.sha256(f"{seed} {image} {number}".encode()).digest()
    return int.from_bytes(drawn[:8]) >> 1
