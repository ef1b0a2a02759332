"""The `head` section of a recipe: options of the Mask R-CNN head, which load without torch.

The docstring under a field is its help text, its line in the JSON schema and its row in the docs.
"""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, model_validator

from backbones.options.base import Count, Norm, Positive, Section, Share
from backbones.options.effects import Effect, Identity

BoxHeadName = Literal["4conv1fc", "2fc"]
RulesName = Literal["detectron2", "mmdet"]
BoxLossName = Literal["l1", "giou"]


class HeadOptions(Section):
    """The shared Mask R-CNN head: torchvision's modules with detectron2's or mmdet's rules."""

    model_config = ConfigDict(title="Head")

    rpn_convs: Literal[1, 2] = 2
    """3x3 convolutions in the region proposal network before its two predictors."""
    box_head: BoxHeadName = "4conv1fc"
    """Four convolutions and one linear layer, or two linear layers."""
    norm: Norm = "bn"
    """Normalisation after the convolutions of the box and mask heads."""
    channels: Count = 256
    """Width of the convolutions of the RPN, box and mask heads."""
    fc_channels: Count = 1024
    """Width of the linear layers of the box head."""
    mask: bool = True
    """Predict instance masks; switch off for data that has boxes only."""
    cascade: bool = False
    """Three box heads in a row, each on the boxes of the one before (Cascade Mask R-CNN)."""
    rules: RulesName = "detectron2"
    """Whose matching, RPN loss normaliser, box limits and initial weights; mmdet: ViT-Adapter's."""
    anchor_sizes: tuple[Positive, Positive, Positive, Positive, Positive] = (32, 64, 128, 256, 512)
    """Side in pixels of the square anchor on p2, p3, p4, p5 and p6."""
    anchor_ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors of every level."""
    rpn_box_loss: Annotated[BoxLossName, Identity.COUNTED_UNLESS_DEFAULT] = "l1"
    """Loss of the RPN's boxes: L1 of their deltas, or generalised IoU with ground truth."""
    rpn_batch: Count = 256
    """Anchors sampled per image for the RPN losses, at most half of them positive."""
    rpn_pre_nms_train: Count = 2000
    """Best anchors per level that enter non-maximum suppression in training."""
    rpn_pre_nms_test: Annotated[Count, Effect.EVALUATION] = 1000
    """Best anchors per level that enter non-maximum suppression in evaluation."""
    rpn_post_nms_train: Count = 1000
    """Proposals per image in training."""
    rpn_post_nms_test: Annotated[Count, Effect.EVALUATION] = 1000
    """Proposals per image in evaluation."""
    rpn_nms: Annotated[Share, Effect.BOTH] = 0.7
    """Intersection over union above which the lower of two proposals is dropped."""
    box_loss: Annotated[BoxLossName, Identity.COUNTED_UNLESS_DEFAULT] = "l1"
    """Loss of the box heads' boxes: L1 of their deltas, or generalised IoU with ground truth."""
    roi_batch: Count = 512
    """Proposals sampled per image for the box losses, at most a quarter of them positive."""
    score: Annotated[Share, Effect.EVALUATION] = 0.05
    """Detections below this score are dropped."""
    nms: Annotated[Share, Effect.EVALUATION] = 0.5
    """Intersection over union above which the lower of two detections of a class is dropped."""
    detections: Annotated[Count, Effect.EVALUATION] = 100
    """Detections kept per image."""

    @model_validator(mode="after")
    def _one_cascade(self) -> Self:
        if self.cascade and self.rules == "mmdet":
            raise ValueError(
                "head.cascade follows detectron2 and cannot be combined with head.rules: mmdet, "
                "whose cascade differs (three mask heads, IoU losses); set rules to detectron2"
            )
        return self
