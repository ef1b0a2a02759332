"""Evaluation of a model that draws its tokens at random: seeded image by image, pass by pass.

What an image's evaluation draws depends on the seed, the image's id and the number of the pass
only: not on the batch, the order of the images, or how many processes share them. So an image goes
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


@dataclass(frozen=True, slots=True)
class Draws:
    """The seed of what is drawn, and how many evaluations of an image are merged."""

    seed: int
    evals: int = 1


def detect_drawn(
    model: MaskRCNN, images: Sequence[Tensor], image_ids: Sequence[int], draws: Draws
) -> list[Detections]:
    """Detections of (3, h, w) images, merged from `draws.evals` evaluations of each."""
    found = []
    for image, image_id in zip(images, image_ids, strict=True):

        def before(number: int, image_id: int = image_id) -> None:
            torch.manual_seed(seed_of(draws.seed, image_id, number))

        found += detect_together(model, [image], draws.evals, before)
    return found


def seed_of(seed: int, image_id: int, number: int) -> int:
    """The seed of pass `number` over an image, below 2**63."""
    digest = hashlib.sha256(f"{seed} {image_id} {number}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
