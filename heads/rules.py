"""Where detectron2 and mmdet treat the same head differently, one field per difference.

Sources: detectron2 at 02b5c4e2 (MIMDet, ViTDet); mmdet 2.22 with ViT-Adapter's
`mask_rcnn_r50_fpn` settings (arXiv:2205.08534, section 4.1).

Not here, because both agree: anchors and their order, box weights (10, 10, 5, 5), L1 box losses,
sample sizes and shares, the mean over all sampled regions, background as the last class, half-pixel
aligned RoIAlign with adaptive samples and its choice of level, suppression, score limits, and the
p6 map. Two differences are left out: mmdet ranks proposals by probability (equal but for rounding),
and it rasterises polygons on the photograph before it crops mask targets; bit masks give the same
targets under both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heads.options import RulesName


@dataclass(frozen=True, slots=True)
class Rules:
    """One code base's choices.

    `rpn_min_pos_iou`, `roi_min_pos_iou`: least IoU at which a ground-truth box takes the anchors or
        proposals that overlap it best, even from a ground-truth box that they overlap more (mmdet's
        `min_pos_iou`). None: the best anchors become positive at any IoU, but belong to the box
        they overlap most, and proposals are never taken.
    `own_canvas`: anchors beyond an image's own padding, to a multiple of 32 px, are not sampled.
        Otherwise all anchors of the batch are.
    `mean_of_sampled`: the RPN losses are divided by the number of sampled anchors, positives and
        negatives of an image counting as at least one each. Otherwise by `rpn_batch` per image.
    `limited_shrinking`: a predicted box has at least 16/1000 of its region's sides.
    `xavier_linears`: linear layers start Xavier-uniform. Otherwise Kaiming-uniform, by fan-in.
    `he_mask_logits`: the mask logits start like other convolutions. Otherwise with std 0.001.
    """

    rpn_min_pos_iou: float | None
    roi_min_pos_iou: float | None
    own_canvas: bool
    mean_of_sampled: bool
    limited_shrinking: bool
    xavier_linears: bool
    he_mask_logits: bool


DETECTRON2: Final = Rules(
    rpn_min_pos_iou=None,
    roi_min_pos_iou=None,
    own_canvas=False,
    mean_of_sampled=False,
    limited_shrinking=False,
    xavier_linears=False,
    he_mask_logits=False,
)
MMDET: Final = Rules(
    rpn_min_pos_iou=0.3,
    roi_min_pos_iou=0.5,
    own_canvas=True,
    mean_of_sampled=True,
    limited_shrinking=True,
    xavier_linears=True,
    he_mask_logits=True,
)
RULES: Final[Mapping[RulesName, Rules]] = {"detectron2": DETECTRON2, "mmdet": MMDET}
"""By the name in a recipe's `head.rules`."""
