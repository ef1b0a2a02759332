"""Names of the head's parameters in published checkpoints, and ours.

"detectron2": its Mask R-CNN models with this head, MIMDet and ViTDet among them, and its Cascade
Mask R-CNN; both box heads, every norm, one or two RPN convolutions. "mmdet": its Mask R-CNN models
(2.x, ViT-Adapter's among them) with the same choices; a box layer's rows are class by class there
too, so that nothing is reordered. mmdet's cascade is another one, and its keys stay unknown.
"""

from collections.abc import Mapping
from typing import Final

from backbones.key_maps.rename import Drop, Rule

_NORM: Final = r"(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)"
_LAYER: Final = r"(?P<leaf>weight|bias)"
_INDEX: Final = r"(?P<index>\d+)"
_STAGE: Final = r"(?P<stage>[012]\.)?"
_INPUT: Final = "normalisation of the pixels; the recipe's `data.pixel_mean` and `pixel_std` count"


def _blocks(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of four numbered convolutions: theirs count from 1, ours from 0."""
    rules: dict[str, Rule] = {}
    for index in range(4):
        rules[rf"{theirs}{index + 1}\.norm\.{_NORM}"] = rf"{ours}.{index}.norm.\g<leaf>"
        rules[rf"{theirs}{index + 1}\.{_LAYER}"] = rf"{ours}.{index}.conv.\g<leaf>"
    return rules


_RPN: Final = r"proposal_generator\.rpn_head\."
_BOX: Final = rf"roi_heads\.box_head\.{_STAGE}"
_PREDICTOR: Final = rf"roi_heads\.box_predictor\.{_STAGE}"
_OUR_BOX: Final = r"roi_heads.box_head.\g<stage>"
_OUR_PREDICTOR: Final = r"roi_heads.box_predictor.\g<stage>"

DETECTRON2_HEAD: Final[dict[str, Rule]] = {
    rf"{_RPN}conv\.conv{_INDEX}\.{_LAYER}": r"rpn.convs.\g<index>.\g<leaf>",
    rf"{_RPN}conv\.{_LAYER}": r"rpn.convs.0.\g<leaf>",
    rf"{_RPN}objectness_logits\.{_LAYER}": r"rpn.objectness.\g<leaf>",
    rf"{_RPN}anchor_deltas\.{_LAYER}": r"rpn.deltas.\g<leaf>",
    **_blocks(rf"{_BOX}conv", f"{_OUR_BOX}convs"),
    rf"{_BOX}fc1\.{_LAYER}": rf"{_OUR_BOX}fcs.0.\g<leaf>",
    rf"{_BOX}fc2\.{_LAYER}": rf"{_OUR_BOX}fcs.1.\g<leaf>",
    rf"{_PREDICTOR}cls_score\.{_LAYER}": rf"{_OUR_PREDICTOR}scores.\g<leaf>",
    rf"{_PREDICTOR}bbox_pred\.{_LAYER}": rf"{_OUR_PREDICTOR}deltas.\g<leaf>",
    **_blocks(r"roi_heads\.mask_head\.mask_fcn", "roi_heads.mask_head.convs"),
    rf"roi_heads\.mask_head\.deconv\.{_LAYER}": r"roi_heads.mask_head.up.\g<leaf>",
    rf"roi_heads\.mask_head\.predictor\.{_LAYER}": r"roi_heads.mask_head.logits.\g<leaf>",
    r"pixel_(mean|std)": Drop(_INPUT),
    r"proposal_generator\.anchor_generator\.cell_anchors\.\d+": Drop(
        "anchors follow from `head.anchor_sizes` and `head.anchor_ratios`"
    ),
}
"""Rules for `backbones.key_maps.rename`, to be joined with a backbone's own."""


def _modules(theirs: str, ours: str) -> dict[str, Rule]:
    """Rules of mmcv's convolution modules; a norm is named after its kind there."""
    return {
        rf"{theirs}\.{_INDEX}\.(bn|gn)\.{_NORM}": rf"{ours}.\g<index>.norm.\g<leaf>",
        rf"{theirs}\.{_INDEX}\.conv\.{_LAYER}": rf"{ours}.\g<index>.conv.\g<leaf>",
    }


_MM_BOX: Final = r"roi_head\.bbox_head\."
_MM_MASK: Final = r"roi_head\.mask_head\."

MMDET_HEAD: Final[dict[str, Rule]] = {
    rf"rpn_head\.rpn_conv\.{_INDEX}\.conv\.{_LAYER}": r"rpn.convs.\g<index>.\g<leaf>",
    rf"rpn_head\.rpn_conv\.{_LAYER}": r"rpn.convs.0.\g<leaf>",
    rf"rpn_head\.rpn_cls\.{_LAYER}": r"rpn.objectness.\g<leaf>",
    rf"rpn_head\.rpn_reg\.{_LAYER}": r"rpn.deltas.\g<leaf>",
    **_modules(rf"{_MM_BOX}shared_convs", "roi_heads.box_head.convs"),
    rf"{_MM_BOX}shared_fcs\.{_INDEX}\.{_LAYER}": r"roi_heads.box_head.fcs.\g<index>.\g<leaf>",
    rf"{_MM_BOX}fc_cls\.{_LAYER}": r"roi_heads.box_predictor.scores.\g<leaf>",
    rf"{_MM_BOX}fc_reg\.{_LAYER}": r"roi_heads.box_predictor.deltas.\g<leaf>",
    **_modules(rf"{_MM_MASK}convs", "roi_heads.mask_head.convs"),
    rf"{_MM_MASK}upsample\.{_LAYER}": r"roi_heads.mask_head.up.\g<leaf>",
    rf"{_MM_MASK}conv_logits\.{_LAYER}": r"roi_heads.mask_head.logits.\g<leaf>",
}
"""Rules for `backbones.key_maps.rename`, to be joined with a backbone's own."""

HEADS: Final[Mapping[str, Mapping[str, Rule]]] = {
    "detectron2": DETECTRON2_HEAD,
    "mmdet": MMDET_HEAD,
}
"""Rules by the name that a backbone's key map gives in its `head` field."""

CLASS_LAYERS: Final = (
    r"roi_heads\.(box_predictor\.(([012]\.)?scores|deltas)|mask_head\.logits)\.(weight|bias)"
)
"""Our names of the tensors whose shapes follow the number of classes; a cascade's `deltas` do not,
since its classes share one box."""
