"""Boxes against ground truth and against the border of their image, for a whole batch."""

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (B, n, 4) moved inside images of `sizes` (B, 2), height first."""
    limits = sizes.flip(1).repeat(1, 2)[:, None].to(boxes)  # (B, 1, 4): w, h, w, h
    return boxes.clamp(min=0).minimum(limits)


def match(matcher: Matcher, truth: Tensor, boxes: Tensor) -> Tensor:
    """Index into `truth` (g, 4) for each of `boxes` (n, 4), by IoU: (n,), negative for none.

    The negative values are torchvision's: -1 is background, -2 is neither.
    """
    if len(truth) == 0:  # torchvision's matcher refuses an image without objects
        return torch.full((len(boxes),), Matcher.BELOW_LOW_THRESHOLD, device=boxes.device)
    return matcher(box_iou(truth, boxes))
