"""Box and mask head on the same proposals.

Paper: He et al., "Mask R-CNN" (arXiv:1703.06870). All regions of all images pass each head once.

B images, R regions, P foreground regions, K classes, k boxes per region (K or 1).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from heads import box_head, mask_head
from heads.box_head import BoxHead, BoxPredictor, best_of_image, box_losses, decode
from heads.boxes import Coder
from heads.instances import Detections, Target
from heads.mask_head import MaskHead, mask_loss, of_class
from heads.mask_targets import mask_targets
from heads.options import HeadOptions
from heads.pooling import pool_regions, to_rois
from heads.roi_sampling import RegionSample, sample_regions
from heads.rules import RULES


@dataclass(frozen=True, slots=True)
class Candidates:
    """Proposals of one image after the box heads, before any is chosen.

    `scores` (r, K + 1) are class probabilities, background last; `boxes` are (r, k, 4).
    """

    scores: Tensor
    boxes: Tensor


class RegionHeads(nn.Module, ABC):
    """What all heads share: sampling regions, pooling them, masks, choosing detections.

    `strides` are those of the maps that regions are read from. A subclass adds its box heads and
    `mask_head`, None for boxes alone.
    """

    mask_head: MaskHead | None

    def __init__(self, strides: Sequence[int], classes: int, options: HeadOptions) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.classes = classes
        self.options = options
        self.rules = RULES[options.rules]

    @abstractmethod
    def forward(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        targets: Sequence[Target],
        sizes: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a fresh sample of the proposals (n_i, 4) of images of `sizes` (B, 2)."""

    @abstractmethod
    def candidates(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> list[Candidates]:
        """What the box heads make of every image's proposals (n_i, 4), inside `sizes` (B, 2)."""

    def detect(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> list[Detections]:
        """Detections of every image, inside its `sizes` (B, 2)."""
        found = [self.best(image) for image in self.candidates(maps, proposals, sizes)]
        if self.mask_head is None:
            return found
        return with_masks(found, self.mask_probabilities(self.mask_head, maps, found))

    def best(self, candidates: Candidates) -> Detections:
        """The detections of one image, without masks."""
        return Detections(*best_of_image(candidates.scores, candidates.boxes, self.options))

    def mask_probabilities(
        self, head: MaskHead, maps: Sequence[Tensor], found: Sequence[Detections]
    ) -> Tensor:
        """Masks (P, 28, 28) of the detections of all images, read from their final boxes."""
        logits = self.predict_masks(head, maps, to_rois([d.boxes for d in found]))
        return of_class(logits, torch.cat([d.labels for d in found])).sigmoid()

    def sample(self, proposals: Sequence[Tensor], targets: Sequence[Target]) -> RegionSample:
        """Regions sampled from the proposals (n_i, 4) of each image and its ground-truth boxes."""
        count = self.options.roi_batch
        return sample_regions(proposals, targets, count, self.classes, self.rules)

    def mask_losses(
        self, maps: Sequence[Tensor], sample: RegionSample, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """`mask`, the loss of the foreground of a sample; nothing without a mask head."""
        if self.mask_head is None:
            return {}
        foreground = sample.select(sample.labels < self.classes)
        masks = self.predict_masks(self.mask_head, maps, foreground.rois)
        wanted = mask_targets(foreground, targets, mask_head.SIZE)
        return {"mask": mask_loss(masks, foreground.labels, wanted)}

    def predict_masks(self, head: MaskHead, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Mask logits (P, K, 28, 28) of regions (P, 5)."""
        return head(self.pool(maps, rois, mask_head.POOL))

    def pool(self, maps: Sequence[Tensor], rois: Tensor, size: int) -> Tensor:
        """Regions (R, C, size, size) pooled from the maps."""
        return pool_regions(maps, self.strides, rois, size)


class RoIHeads(RegionHeads):
    """Detections from proposals by one box head, and its losses."""

    def __init__(
        self, in_channels: int, strides: Sequence[int], classes: int, options: HeadOptions
    ) -> None:
        super().__init__(strides, classes, options)
        self.coder = Coder(box_head.WEIGHTS, self.rules.limited_shrinking)
        self.box_head = BoxHead(in_channels, options)
        self.box_predictor = BoxPredictor(options.fc_channels, classes, boxes=classes)
        self.mask_head = MaskHead(in_channels, classes, options) if options.mask else None

    def forward(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        targets: Sequence[Target],
        sizes: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a fresh sample of the proposals (n_i, 4) of each image."""
        return self.losses(maps, self.sample(proposals, targets), targets)

    def losses(
        self, maps: Sequence[Tensor], sample: RegionSample, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """`box_class`, `box_regression` and, with a mask head, `mask` of a sample."""
        logits, deltas = self.predict_boxes(maps, sample.rois)
        classification, regression = box_losses(logits, deltas, sample, self.options, self.coder)
        losses = {"box_class": classification, "box_regression": regression}
        return losses | self.mask_losses(maps, sample, targets)

    def predict_boxes(self, maps: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1), background last, and deltas (R, K, 4) of regions (R, 5)."""
        return self.box_predictor(self.box_head(self.pool(maps, rois, box_head.POOL)))

    def candidates(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> list[Candidates]:
        """Every proposal's class probabilities, and a box for each class."""
        rois = to_rois(proposals)  # (R, 5)
        logits, deltas = self.predict_boxes(maps, rois)
        boxes = decode(deltas, rois, sizes, self.coder)  # (R, K, 4)
        return by_image(logits.softmax(dim=1), boxes, proposals)


def by_image(scores: Tensor, boxes: Tensor, proposals: Sequence[Tensor]) -> list[Candidates]:
    """Scores (R, K + 1) and boxes (R, k, 4), cut into those of the proposals of each image."""
    counts = [len(p) for p in proposals]
    pairs = zip(torch.split(scores, counts), torch.split(boxes, counts), strict=True)
    return [Candidates(*pair) for pair in pairs]


def with_masks(found: Sequence[Detections], masks: Tensor) -> list[Detections]:
    """The same detections with their masks, (P, 28, 28) over all images."""
    parts = torch.split(masks, [len(d.boxes) for d in found])
    return [
        Detections(d.boxes, d.scores, d.labels, mask) for d, mask in zip(found, parts, strict=True)
    ]
