"""Several evaluations of the same images, merged into one set of detections.

Paper: MIMDet (arXiv:2204.02964), "Inference Strategy" and table 4: a detector that sees a random
half of the tokens is evaluated 2, 4 or 8 times, and the result is their "ensemble". Neither the
paper nor its code says how they are merged; here

1. each pass samples its own tokens and makes its own proposals, class scores and boxes;
2. the candidates of all passes are pooled, then filtered as in a single pass: score threshold,
   suppression within each class, the best `head.detections` of an image;
3. a mask is the mean of the probabilities that the passes' maps give at the chosen box.

Equal passes give the detections of one pass. A box that one pass alone finds survives, with its
own score: suppression keeps the best of overlapping boxes, and averages neither scores nor boxes.

B images, P detections of all images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.instances import Detections
from heads.mask_rcnn import MaskRCNN
from heads.roi_heads import Candidates, RegionHeads, with_masks


@dataclass(frozen=True, slots=True)
class View:
    """What one pass saw: maps (B, C, h, w) by level, and the proposals (n_i, 4) of each image."""

    maps: Sequence[Tensor]
    proposals: Sequence[Tensor]


def detect_together(
    model: MaskRCNN,
    images: Sequence[Tensor],
    passes: int,
    before: Callable[[int], None],
) -> list[Detections]:
    """Detections of (3, h, w) uint8 images, merged from `passes` evaluations.

    `before` is called with each pass's number, from 0; it may seed what the pass samples.
    """
    batch, sizes = model.prepare(images)
    views = []
    for number in range(passes):
        before(number)
        maps = model.maps(batch, sizes)
        proposals, _ = model.rpn(maps, sizes)
        views.append(View(maps[:-1], [of_image.boxes for of_image in proposals]))
    return merge(model.roi_heads, views, sizes)


def merge(heads: RegionHeads, views: Sequence[View], sizes: Tensor) -> list[Detections]:
    """Detections of every image out of all `views` of it, inside its `sizes` (B, 2)."""
    passes = [heads.candidates(view.maps, view.proposals, sizes) for view in views]
    found = [heads.best(pool(of_image)) for of_image in zip(*passes, strict=True)]
    head = heads.mask_head
    if head is None:
        return found
    masks = [heads.mask_probabilities(head, view.maps, found) for view in views]
    return with_masks(found, torch.stack(masks).mean(dim=0))  # (P, 28, 28)


def pool(candidates: Sequence[Candidates]) -> Candidates:
    """The candidates of several passes over one image as if they came from one."""
    return Candidates(
        scores=torch.cat([of_pass.scores for of_pass in candidates]),
        boxes=torch.cat([of_pass.boxes for of_pass in candidates]),
    )
