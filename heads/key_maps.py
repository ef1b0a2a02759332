"""Names of the head's parameters in published checkpoints, and ours.

"detectron2": its Mask R-CNN models with this head, MIMDet and ViTDet among them, and its Cascade
Mask R-CNN; both box heads, every norm, one or two RPN convolutions. "mmdet": its Mask R-CNN models
(2.x, ViT-Adapter's among them) with the same choices; a box layer's rows are class by class there
too, so that nothing is reordered. mmdet's cascade is another one, and its keys stay unknown.
"""

from collections.abc import Mapping
from typing import Final

from backbones.key_maps.rename import Drop, Rule
from backbones.key_maps.template import template

_NORM: Final = "{leaf:weight|bias|running_mean|running_var|num_batches_tracked}"
_INPUT: Final = "normalisation of the pixels; the recipe's `data.pixel_mean` and `pixel_std` count"


def _convs(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of four numbered convolutions: theirs count from 1, ours from 0."""
    rules: dict[str, Rule] = {}
    for index in range(4):
        rules[f"{theirs}{index + 1}.norm.{_NORM}"] = f"{ours}.{index}.norm.{{leaf}}"
        rules[f"{theirs}{index + 1}.{{leaf}}"] = f"{ours}.{index}.conv.{{leaf}}"
    return rules


def _box_rules(stage: str, ours: str) -> dict[str, Rule]:
    """Rules of a box head and its predictor; a cascade has one of each per `stage`."""
    head, our_head = f"roi_heads.box_head.{stage}", f"roi_heads.box_head.{ours}"
    predictor, our_predictor = f"roi_heads.box_predictor.{stage}", f"roi_heads.box_predictor.{ours}"
    return {
        **_convs(f"{head}conv", f"{our_head}convs"),
        f"{head}fc1.{{leaf}}": f"{our_head}fcs.0.{{leaf}}",
        f"{head}fc2.{{leaf}}": f"{our_head}fcs.1.{{leaf}}",
        f"{predictor}cls_score.{{leaf}}": f"{our_predictor}scores.{{leaf}}",
        f"{predictor}bbox_pred.{{leaf}}": f"{our_predictor}deltas.{{leaf}}",
    }


_RPN: Final = "proposal_generator.rpn_head"
_MASK: Final = "roi_heads.mask_head"

DETECTRON2_HEAD: Final[dict[str, Rule]] = {
    f"{_RPN}.conv.conv{{i}}.{{leaf}}": "rpn.convs.{i}.{leaf}",
    f"{_RPN}.conv.{{leaf}}": "rpn.convs.0.{leaf}",
    f"{_RPN}.objectness_logits.{{leaf}}": "rpn.objectness.{leaf}",
    f"{_RPN}.anchor_deltas.{{leaf}}": "rpn.deltas.{leaf}",
    **_box_rules("", ""),
    **_box_rules("{stage:0|1|2}.", "{stage}."),
    **_convs(f"{_MASK}.mask_fcn", f"{_MASK}.convs"),
    f"{_MASK}.deconv.{{leaf}}": f"{_MASK}.up.{{leaf}}",
    f"{_MASK}.predictor.{{leaf}}": f"{_MASK}.logits.{{leaf}}",
    "pixel_{mean|std}": Drop(_INPUT),
    "proposal_generator.anchor_generator.cell_anchors.{i}": Drop(
        "anchors follow from `head.anchor_sizes` and `head.anchor_ratios`"
    ),
}
"""Rules for `backbones.key_maps.rename`, to be joined with a backbone's own."""


def _modules(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of mmcv's convolution modules; a norm is named after its kind there."""
    return {
        f"{theirs}.{{i}}.{{bn|gn}}.{_NORM}": f"{ours}.{{i}}.norm.{{leaf}}",
        f"{theirs}.{{i}}.conv.{{leaf}}": f"{ours}.{{i}}.conv.{{leaf}}",
    }


_MM_BOX: Final = "roi_head.bbox_head"
_MM_MASK: Final = "roi_head.mask_head"

MMDET_HEAD: Final[dict[str, Rule]] = {
    "rpn_head.rpn_conv.{i}.conv.{leaf}": "rpn.convs.{i}.{leaf}",
    "rpn_head.rpn_conv.{leaf}": "rpn.convs.0.{leaf}",
    "rpn_head.rpn_cls.{leaf}": "rpn.objectness.{leaf}",
    "rpn_head.rpn_reg.{leaf}": "rpn.deltas.{leaf}",
    **_modules(f"{_MM_BOX}.shared_convs", "roi_heads.box_head.convs"),
    f"{_MM_BOX}.shared_fcs.{{i}}.{{leaf}}": "roi_heads.box_head.fcs.{i}.{leaf}",
    f"{_MM_BOX}.fc_cls.{{leaf}}": "roi_heads.box_predictor.scores.{leaf}",
    f"{_MM_BOX}.fc_reg.{{leaf}}": "roi_heads.box_predictor.deltas.{leaf}",
    **_modules(f"{_MM_MASK}.convs", f"{_MASK}.convs"),
    f"{_MM_MASK}.upsample.{{leaf}}": f"{_MASK}.up.{{leaf}}",
    f"{_MM_MASK}.conv_logits.{{leaf}}": f"{_MASK}.logits.{{leaf}}",
}
"""Rules for `backbones.key_maps.rename`, to be joined with a backbone's own."""

HEADS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "detectron2": DETECTRON2_HEAD,
    "mmdet": MMDET_HEAD,
}
"""Rules by the name that a backbone's key map gives in its `head` field."""

_BY_CLASS: Final = (
    "roi_heads.box_predictor.{scores|deltas}.{leaf}",
    "roi_heads.box_predictor.{stage:0|1|2}.scores.{leaf}",
    "roi_heads.mask_head.logits.{leaf}",
)


def follows_classes(key: str) -> bool:
    """Whether the shape of the head's tensor `key` follows the number of classes.

    That of a cascade's `deltas` does not: its classes share one box.
    """
    return any(template(text).match(key) is not None for text in _BY_CLASS)
