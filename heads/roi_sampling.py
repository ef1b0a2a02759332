"""Which regions train the box and mask heads, and the target of each.

Papers: Girshick, "Fast R-CNN" (arXiv:1504.08083), section 2.3; the later stages of Cai and
Vasconcelos, "Cascade R-CNN" (arXiv:1712.00726), section 4.2, take all regions.

R regions of all images together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher

from heads.boxes import match
from heads.instances import Target
from heads.pooling import to_rois
from heads.rules import DETECTRON2, Rules

OVERLAP = 0.5
FOREGROUND = 0.25


@dataclass(frozen=True, slots=True)
class RegionSample:
    """Regions that enter the losses.

    `rois` (R, 5): image index and box. `labels` (R,): class, background being the number of
    classes. `boxes` (R, 4) and `matched_gt` (R,): the ground-truth box that a region matches, and
    its index within the image; meaningless for the background.
    """

    rois: Tensor
    labels: Tensor
    boxes: Tensor
    matched_gt: Tensor

    def select(self, mask: Tensor) -> "RegionSample":
        """The regions where `mask` (R,) is true."""
        index = torch.where(mask)[0]
        return RegionSample(
            self.rois[index], self.labels[index], self.boxes[index], self.matched_gt[index]
        )


@torch.no_grad()
def sample_regions(
    proposals: Sequence[Tensor],
    targets: Sequence[Target],
    count: int,
    classes: int,
    rules: Rules = DETECTRON2,
) -> RegionSample:
    """Sample `count` regions per image from its proposals and ground-truth boxes.

    An IoU of 0.5 makes a region foreground; at most a quarter of the sample is foreground.
    """
    matcher = Matcher(OVERLAP, OVERLAP, allow_low_quality_matches=False)
    sampler = BalancedPositiveNegativeSampler(count, FOREGROUND)
    regions, indices = [], []
    for proposed, target in zip(proposals, targets, strict=True):
        candidates = torch.cat((proposed, target.boxes))
        if rules.roi_min_pos_iou is None:
            matches = match(matcher, target.boxes, candidates)
        else:  # low-quality matches are for proposals; a ground-truth box matches itself
            itself = torch.arange(len(target.boxes), device=proposed.device)
            matched = match(matcher, target.boxes, proposed, rules.roi_min_pos_iou)
            matches = torch.cat((matched, itself))
        foreground, background = sampler([(matches >= 0).long()])
        chosen = torch.where(foreground[0] | background[0])[0]
        regions.append(candidates[chosen])
        indices.append(matches[chosen])
    return _labelled(regions, indices, targets, classes)


@torch.no_grad()
def label_regions(
    regions: Sequence[Tensor], targets: Sequence[Target], overlap: float, classes: int
) -> RegionSample:
    """All regions (n_i, 4) of each image, foreground from an IoU of `overlap` on."""
    matcher = Matcher(overlap, overlap, allow_low_quality_matches=False)
    matches = [match(matcher, t.boxes, r) for r, t in zip(regions, targets, strict=True)]
    return _labelled(regions, matches, targets, classes)


def _labelled(
    regions: Sequence[Tensor],
    matches: Sequence[Tensor],
    targets: Sequence[Target],
    classes: int,
) -> RegionSample:
    """Regions (n_i, 4) with class and box of the ground truth that they match, by index (n_i,)."""
    pairs = list(zip(targets, matches, strict=True))
    return RegionSample(
        rois=to_rois(regions),
        labels=torch.cat([_pick(t.labels, index, classes) for t, index in pairs]),
        boxes=torch.cat([_pick(t.boxes, index, 0) for t, index in pairs]),
        matched_gt=torch.cat([index.clamp(min=0) for index in matches]),
    )


def _pick(values: Tensor, index: Tensor, missing: int) -> Tensor:
    """`values[index]`, and `missing` where the index is negative."""
    padded = torch.cat((values, values.new_full((1, *values.shape[1:]), missing)))
    return padded[index]
