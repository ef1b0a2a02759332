import pytest
import torch

from backbones.key_maps.rename import KeyMap, rename
from heads.key_maps import DETECTRON2_HEAD
from heads.roi_heads import RoIHeads
from heads.rpn import RPN
from heads.settings import HeadSettings

STRIDES = (4, 8, 16, 32, 64)


def ours(settings: HeadSettings) -> set[str]:
    rpn = RPN(8, STRIDES, settings).state_dict()
    heads = RoIHeads(8, STRIDES[:4], 5, settings).state_dict()
    return {f"rpn.{key}" for key in rpn} | {f"roi_heads.{key}" for key in heads}


def theirs(norm: str, fcs: int, rpn_convs: int) -> list[str]:
    """Detectron2's keys, from its naming rules."""
    pair = ("weight", "bias")
    roots = ["objectness_logits", "anchor_deltas"]
    roots += ["conv"] if rpn_convs == 1 else [f"conv.conv{i}" for i in range(rpn_convs)]
    keys = [f"proposal_generator.rpn_head.{root}.{leaf}" for root in roots for leaf in pair]
    buffers = ("running_mean", "running_var", "num_batches_tracked") if norm == "BN" else ()
    convs = [f"mask_head.mask_fcn{i}" for i in range(1, 5)]
    convs += [f"box_head.conv{i}" for i in range(1, 5)] if fcs == 1 else []
    for conv in convs:
        keys.append(f"roi_heads.{conv}.weight")
        keys += [f"roi_heads.{conv}.norm.{leaf}" for leaf in (*pair, *buffers) if norm != "none"]
        keys += [f"roi_heads.{conv}.bias"] if norm == "none" else []
    roots = [f"box_head.fc{i + 1}" for i in range(fcs)]
    roots += ["box_predictor.cls_score", "box_predictor.bbox_pred"]
    roots += ["mask_head.deconv", "mask_head.predictor"]
    return keys + [f"roi_heads.{root}.{leaf}" for root in roots for leaf in pair]


@pytest.mark.parametrize("norm", ["BN", "LN", "none"])
@pytest.mark.parametrize(("box_head", "fcs"), [("4conv1fc", 1), ("2fc", 2)])
@pytest.mark.parametrize("rpn_convs", [1, 2])
def test_every_detectron2_key_becomes_one_of_ours_and_none_of_ours_is_left(
    norm, box_head, fcs, rpn_convs
):
    settings = HeadSettings(
        norm=norm, box_head=box_head, rpn_convs=rpn_convs, channels=8, fc_channels=8
    )
    keys = theirs(norm, fcs, rpn_convs)
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(DETECTRON2_HEAD))
    assert len(keys) >= 20
    assert renamed.unknown == ()
    assert set(renamed.kept) == ours(settings)


def test_anchors_and_pixel_statistics_are_dropped_by_rule():
    keys = ["pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors.4"]
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(DETECTRON2_HEAD))
    assert sorted(renamed.dropped) == sorted(keys)
    assert all(renamed.dropped.values())


def test_a_stranger_key_stays_unknown():
    renamed = rename({"roi_heads.box_head.conv5.weight": torch.zeros(0)}, KeyMap(DETECTRON2_HEAD))
    assert renamed.unknown == ("roi_heads.box_head.conv5.weight",)
