"""Boxes against ground truth, against the border of their image, and as deltas from other boxes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

LIMIT = math.log(1000 / 16)


class Coder:
    """Boxes as deltas of centre and log size from other boxes.

    `weights` multiply the deltas of x, y, width and height. A decoded box has at most 1000/16 of
    the other's sides; with `limited_shrinking` at least 16/1000 of them.
    """

    def __init__(self, weights: Sequence[float], limited_shrinking: bool = False) -> None:
        self.coder = BoxCoder(tuple(weights))
        self.least = [-LIMIT * w for w in weights[2:]] if limited_shrinking else None

    def encode(self, gt_boxes: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (R, 4) that lead from `boxes` to `gt_boxes`, both (R, 4)."""
        return self.coder.encode_single(gt_boxes, boxes)

    def decode(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Boxes of the shape of `deltas`, (R, 4) or (R, K, 4), from `boxes` (R, 4)."""
        if self.least is not None:
            x, y, width, height = deltas.unbind(dim=-1)
            width, height = width.clamp(min=self.least[0]), height.clamp(min=self.least[1])
            deltas = torch.stack((x, y, width, height), dim=-1)
        return self.coder.decode_single(deltas.flatten(1), boxes).view_as(deltas)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (B, n, 4) moved inside images of `sizes` (B, 2), height first."""
    limits = sizes.flip(1).repeat(1, 2)[:, None].to(boxes)  # (B, 1, 4): w, h, w, h
    return boxes.clamp(min=0).minimum(limits)


def match(
    matcher: Matcher, gt_boxes: Tensor, boxes: Tensor, min_pos_iou: float | None = None
) -> Tensor:
    """Index into `gt_boxes` (g, 4) for each of `boxes` (n, 4), by IoU: (n,), negative for none.

    The negative values are torchvision's: -1 is background, -2 is neither. With `min_pos_iou`, a
    ground-truth box also takes the boxes that overlap it best, if their IoU is at least that, as in
    mmdetection; where several ground-truth boxes take the same box, the last one wins.
    """
    if len(gt_boxes) == 0 or len(boxes) == 0:  # torchvision's matcher refuses both
        return torch.full((len(boxes),), Matcher.BELOW_LOW_THRESHOLD, device=boxes.device)
    overlaps = box_iou(gt_boxes, boxes)  # (g, n)
    matches = matcher(overlaps)
    if min_pos_iou is None:
        return matches
    best = overlaps.amax(dim=1, keepdim=True)  # (g, 1)
    owner, taken = torch.where((overlaps == best) & (best >= min_pos_iou))
    winner = torch.full_like(matches, -1).scatter_reduce(0, taken, owner, "amax")
    return torch.where(winner >= 0, winner, matches)
