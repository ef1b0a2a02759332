"""Names of the head's parameters in detectron2's checkpoints, and ours.

The rules cover detectron2's Mask R-CNN models with this head, MIMDet and ViTDet among them: both
box heads, every norm, one or two RPN convolutions.
"""

from collections.abc import Mapping
from typing import Final

from backbones.key_maps.rename import Drop

_NORM: Final = r"norm\.(weight|bias|running_mean|running_var|num_batches_tracked)"
_LAYER: Final = r"(weight|bias)"
_INPUT: Final = "normalisation of the pixels; the recipe's `data.pixel_mean` and `pixel_std` count"


def _blocks(theirs: str, ours: str) -> dict[str, str | Drop]:
    """Rules of four numbered convolutions: theirs count from 1, ours from 0."""
    rules: dict[str, str | Drop] = {}
    for index in range(4):
        rules[rf"{theirs}{index + 1}\.{_NORM}"] = rf"{ours}.{index}.norm.\1"
        rules[rf"{theirs}{index + 1}\.{_LAYER}"] = rf"{ours}.{index}.conv.\1"
    return rules


DETECTRON2_HEAD: Final[dict[str, str | Drop]] = {
    rf"proposal_generator\.rpn_head\.conv\.conv(\d+)\.{_LAYER}": r"rpn.convs.\1.\2",
    rf"proposal_generator\.rpn_head\.conv\.{_LAYER}": r"rpn.convs.0.\1",
    rf"proposal_generator\.rpn_head\.objectness_logits\.{_LAYER}": r"rpn.objectness.\1",
    rf"proposal_generator\.rpn_head\.anchor_deltas\.{_LAYER}": r"rpn.deltas.\1",
    **_blocks(r"roi_heads\.box_head\.conv", "roi_heads.box_head.convs"),
    rf"roi_heads\.box_head\.fc1\.{_LAYER}": r"roi_heads.box_head.fcs.0.\1",
    rf"roi_heads\.box_head\.fc2\.{_LAYER}": r"roi_heads.box_head.fcs.1.\1",
    rf"roi_heads\.box_predictor\.cls_score\.{_LAYER}": r"roi_heads.box_predictor.scores.\1",
    rf"roi_heads\.box_predictor\.bbox_pred\.{_LAYER}": r"roi_heads.box_predictor.deltas.\1",
    **_blocks(r"roi_heads\.mask_head\.mask_fcn", "roi_heads.mask_head.convs"),
    rf"roi_heads\.mask_head\.deconv\.{_LAYER}": r"roi_heads.mask_head.up.\1",
    rf"roi_heads\.mask_head\.predictor\.{_LAYER}": r"roi_heads.mask_head.logits.\1",
    r"pixel_(mean|std)": Drop(_INPUT),
    r"proposal_generator\.anchor_generator\.cell_anchors\.\d+": Drop(
        "anchors follow from `head.anchor_sizes` and `head.anchor_ratios`"
    ),
}
"""Rules for `backbones.key_maps.rename`, to be joined with a backbone's own."""

HEADS: Final[Mapping[str, Mapping[str, str | Drop]]] = {"detectron2": DETECTRON2_HEAD}
"""Rules by the name that a backbone's key map gives in its `head` field."""
