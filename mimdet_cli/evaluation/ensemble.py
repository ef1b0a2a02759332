"""Reproducible evaluation of models that sample their tokens: seeded per image and per pass.

The sampled tokens depend only on the seed, the image's pixels and the index of the pass, not on the
file name, the image id, the batch, the order of images or the number of processes. `mimdet eval`,
`mimdet predict` and the Python API therefore see the same tokens. Each image is evaluated alone, so
that tokens of another image's padding are never sampled. With more evaluations, the first passes
stay the same.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.ensemble import detect_together
from heads.instances import Detections
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.seeding import preserve_random_state


@dataclass(frozen=True, slots=True)
class SampledEvals:
    """The seed of token sampling, and the number of evaluations of an image to merge."""

    seed: int
    evals: int = 1


def detect_sampled(
    model: MaskRCNN, images: Sequence[Tensor], digests: Sequence[str], sampled: SampledEvals
) -> list[Detections]:
    """Detections of (3, h, w) images, each merged from `sampled.evals` evaluations.

    `digests` are the images' `digest`s.
    """
    detections = []
    for image, image_digest in zip(images, digests, strict=True):

        def before(number: int, image_digest: str = image_digest) -> None:
            torch.manual_seed(seed_of(sampled.seed, image_digest, number))

        with preserve_random_state():
            detections += detect_together(model, [image], sampled.evals, before)
    return detections


def digest(image: Tensor) -> str:
    """A hash of the shape and pixels of an image (3, h, w) uint8 on the CPU."""
    content = hashlib.sha256(str(tuple(image.shape)).encode())
    content.update(image.contiguous().numpy().data)
    return content.hexdigest()


def seed_of(seed: int, image: str, number: int) -> int:
    """The seed, below 2**63, of pass `number` over the image with the digest `image`."""
    content = hashlib.sha256(f"{seed} {image} {number}".encode()).digest()
    return int.from_bytes(content[:8]) >> 1
