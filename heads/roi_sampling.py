"""Which proposals teach the box and mask heads, and what each of them should become.

Paper: Girshick, "Fast R-CNN" (arXiv:1504.08083), section 2.3.

R sampled regions of all images together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher

from heads.boxes import match
from heads.instances import Target
from heads.pooling import to_rois

OVERLAP = 0.5
FOREGROUND = 0.25


@dataclass(frozen=True, slots=True)
class RegionSample:
    """Regions drawn for the losses.

    `rois` (R, 5): image index and box. `labels` (R,): class, background being the number of
    classes. `boxes` (R, 4) and `instances` (R,): box and index within its image of the ground
    truth that a region belongs to; without meaning for the background.
    """

    rois: Tensor
    labels: Tensor
    boxes: Tensor
    instances: Tensor

    def select(self, mask: Tensor) -> "RegionSample":
        """The regions where `mask` (R,) is true."""
        index = torch.where(mask)[0]
        return RegionSample(
            self.rois[index], self.labels[index], self.boxes[index], self.instances[index]
        )


@torch.no_grad()
def sample_regions(
    proposals: Sequence[Tensor], targets: Sequence[Target], count: int, classes: int
) -> RegionSample:
    """Draw `count` regions per image from its proposals and ground-truth boxes.

    An IoU of 0.5 makes a region foreground; at most a quarter of the sample is foreground.
    """
    matcher = Matcher(OVERLAP, OVERLAP, allow_low_quality_matches=False)
    sampler = BalancedPositiveNegativeSampler(count, FOREGROUND)
    regions, labels, boxes, instances = [], [], [], []
    for proposed, target in zip(proposals, targets, strict=True):
        candidates = torch.cat((proposed, target.boxes))
        matches = match(matcher, target.boxes, candidates)
        foreground, background = sampler([(matches >= 0).long()])
        chosen = torch.where(foreground[0] | background[0])[0]
        matches = matches[chosen]
        regions.append(candidates[chosen])
        instances.append(matches.clamp(min=0))
        labels.append(_pick(target.labels, matches, classes))
        boxes.append(_pick(target.boxes, matches, 0))
    return RegionSample(to_rois(regions), torch.cat(labels), torch.cat(boxes), torch.cat(instances))


def _pick(values: Tensor, index: Tensor, missing: int) -> Tensor:
    """`values[index]`, and `missing` where the index is negative."""
    padded = torch.cat((values, values.new_full((1, *values.shape[1:]), missing)))
    return padded[index]
