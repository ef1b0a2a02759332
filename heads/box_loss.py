"""Box losses by name: how far predicted boxes are from the ground truth, summed over the boxes.

Each takes the P positive regions of the box head, or anchors of the RPN: predicted `deltas` (P, 4),
the regions they start from (P, 4), the ground-truth boxes (P, 4), and the coder of deltas. The
caller divides the sum: by all sampled regions, as detectron2 does whatever the loss.
"""

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from heads.boxes import Coder
from heads.options import BoxLossName

BoxLoss = Callable[[Tensor, Tensor, Tensor, Coder], Tensor]


def l1(deltas: Tensor, regions: Tensor, gt_boxes: Tensor, coder: Coder) -> Tensor:
    """Absolute differences of the deltas."""
    return F.l1_loss(deltas, coder.encode(gt_boxes, regions), reduction="sum")


def giou(deltas: Tensor, regions: Tensor, gt_boxes: Tensor, coder: Coder) -> Tensor:
    """One minus the generalised IoU of the decoded boxes.

    Paper: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019 (arXiv:1902.09630).
    Scaled as detectron2's `BBOX_REG_LOSS_TYPE: giou`: a weight of 1, boxes before they are clipped
    to the image.
    """
    return generalized_box_iou_loss(coder.decode(deltas, regions), gt_boxes, reduction="sum")


BOX_LOSSES: Final[Mapping[BoxLossName, BoxLoss]] = {"l1": l1, "giou": giou}
