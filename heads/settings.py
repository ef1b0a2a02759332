"""What a recipe's `head` section says, as the head itself sees it."""

from dataclasses import dataclass
from typing import Literal

from backbones.layers.norm import Norm
from heads.rules import RulesName

BoxHeadName = Literal["4conv1fc", "2fc"]


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """Fields and defaults of the recipe's `head` section, where each field is explained."""

    rpn_convs: int = 2
    box_head: BoxHeadName = "4conv1fc"
    norm: Norm = "bn"
    channels: int = 256
    fc_channels: int = 1024
    mask: bool = True
    cascade: bool = False
    rules: RulesName = "detectron2"
    anchor_sizes: tuple[float, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rpn_batch: int = 256
    rpn_pre_nms_train: int = 2000
    rpn_pre_nms_test: int = 1000
    rpn_post_nms_train: int = 1000
    rpn_post_nms_test: int = 1000
    rpn_nms: float = 0.7
    roi_batch: int = 512
    score: float = 0.05
    nms: float = 0.5
    detections: int = 100
