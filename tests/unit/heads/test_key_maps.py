import pytest
import torch

from backbones.key_maps.rename import KeyMap, rename
from heads.cascade import CascadeHeads
from heads.key_maps import DETECTRON2_HEAD, HEADS, MMDET_HEAD
from heads.options import HeadOptions
from heads.roi_heads import RoIHeads
from heads.rpn import RPN

STRIDES = (4, 8, 16, 32, 64)


def ours(options: HeadOptions) -> set[str]:
    rpn = RPN(8, STRIDES, options).state_dict()
    kind = CascadeHeads if options.cascade else RoIHeads
    heads = kind(8, STRIDES[:4], 5, options).state_dict()
    return {f"rpn.{key}" for key in rpn} | {f"roi_heads.{key}" for key in heads}


def theirs(norm: str, fcs: int, rpn_convs: int) -> list[str]:
    """Detectron2's keys, from its naming rules."""
    pair = ("weight", "bias")
    roots = ["objectness_logits", "anchor_deltas"]
    roots += ["conv"] if rpn_convs == 1 else [f"conv.conv{i}" for i in range(rpn_convs)]
    keys = [f"proposal_generator.rpn_head.{root}.{leaf}" for root in roots for leaf in pair]
    buffers = ("running_mean", "running_var", "num_batches_tracked") if norm == "bn" else ()
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


@pytest.mark.parametrize("norm", ["bn", "ln", "none"])
@pytest.mark.parametrize(("box_head", "fcs"), [("4conv1fc", 1), ("2fc", 2)])
@pytest.mark.parametrize("rpn_convs", [1, 2])
def test_every_detectron2_key_becomes_one_of_ours_and_none_of_ours_is_left(
    norm, box_head, fcs, rpn_convs
):
    options = HeadOptions(
        norm=norm, box_head=box_head, rpn_convs=rpn_convs, channels=8, fc_channels=8
    )
    keys = theirs(norm, fcs, rpn_convs)
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(DETECTRON2_HEAD))
    assert len(keys) >= 20
    assert renamed.unknown == ()
    assert set(renamed.kept) == ours(options)


def test_anchors_and_pixel_statistics_are_dropped_by_rule():
    keys = ["pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors.4"]
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(DETECTRON2_HEAD))
    assert sorted(renamed.dropped) == sorted(keys)
    assert all(renamed.dropped.values())


def test_a_stranger_key_stays_unknown():
    renamed = rename({"roi_heads.box_head.conv5.weight": torch.zeros(0)}, KeyMap(DETECTRON2_HEAD))
    assert renamed.unknown == ("roi_heads.box_head.conv5.weight",)


@pytest.mark.parametrize("norm", ["bn", "ln", "gn", "none"])
@pytest.mark.parametrize(("box_head", "fcs"), [("4conv1fc", 1), ("2fc", 2)])
def test_every_key_of_detectron2s_cascade_becomes_one_of_ours(norm, box_head, fcs):
    options = HeadOptions(norm=norm, box_head=box_head, channels=8, fc_channels=8, cascade=True)
    keys = []
    for key in theirs(norm, fcs, rpn_convs=2):
        part = next((p for p in ("box_head.", "box_predictor.") if p in key), None)
        stages = (f"{part}0.", f"{part}1.", f"{part}2.") if part else (part,)
        keys += [key if part is None else key.replace(part, stage) for stage in stages]
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(DETECTRON2_HEAD))
    assert len(keys) >= 30
    assert renamed.unknown == ()
    assert set(renamed.kept) == ours(options)
    assert renamed.kept.keys() >= {"roi_heads.box_predictor.2.deltas.weight"}


def of_mmdet(norm: str, fcs: int, rpn_convs: int) -> list[str]:
    """mmdet's keys, from its naming rules."""
    pair = ("weight", "bias")
    buffers = ("running_mean", "running_var", "num_batches_tracked") if norm == "bn" else ()
    roots = ["rpn_head.rpn_cls", "rpn_head.rpn_reg"]
    roots += ["rpn_head.rpn_conv"] if rpn_convs == 1 else []
    roots += [f"rpn_head.rpn_conv.{i}.conv" for i in range(rpn_convs) if rpn_convs > 1]
    roots += [f"roi_head.bbox_head.shared_fcs.{i}" for i in range(fcs)]
    roots += [f"roi_head.bbox_head.fc_{name}" for name in ("cls", "reg")]
    roots += [f"roi_head.mask_head.{name}" for name in ("upsample", "conv_logits")]
    keys = [f"{root}.{leaf}" for root in roots for leaf in pair]
    convs = [f"roi_head.mask_head.convs.{i}" for i in range(4)]
    convs += [f"roi_head.bbox_head.shared_convs.{i}" for i in range(4)] if fcs == 1 else []
    for conv in convs:
        keys += [f"{conv}.conv.{leaf}" for leaf in (pair if norm == "none" else pair[:1])]
        keys += [f"{conv}.{norm.lower()}.{leaf}" for leaf in (*pair, *buffers) if norm != "none"]
    return keys


@pytest.mark.parametrize("norm", ["bn", "gn", "none"])
@pytest.mark.parametrize(("box_head", "fcs"), [("4conv1fc", 1), ("2fc", 2)])
@pytest.mark.parametrize("rpn_convs", [1, 2])
def test_every_mmdet_key_becomes_one_of_ours_and_none_of_ours_is_left(
    norm, box_head, fcs, rpn_convs
):
    options = HeadOptions(
        norm=norm,
        box_head=box_head,
        rpn_convs=rpn_convs,
        channels=8,
        fc_channels=8,
        rules="mmdet",
    )
    keys = of_mmdet(norm, fcs, rpn_convs)
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(MMDET_HEAD))
    assert len(keys) >= 20
    assert renamed.unknown == ()
    assert set(renamed.kept) == ours(options)


def test_weights_of_an_mmdet_head_fit_ours_without_reordering():
    options = HeadOptions(rpn_convs=1, box_head="2fc", norm="none", rules="mmdet")
    shapes = {
        "rpn_head.rpn_conv.weight": (256, 256, 3, 3),
        "rpn_head.rpn_cls.weight": (3, 256, 1, 1),
        "rpn_head.rpn_reg.bias": (12,),
        "roi_head.bbox_head.shared_fcs.0.weight": (1024, 12544),
        "roi_head.bbox_head.fc_cls.weight": (81, 1024),
        "roi_head.bbox_head.fc_reg.weight": (320, 1024),
        "roi_head.mask_head.upsample.weight": (256, 256, 2, 2),
        "roi_head.mask_head.conv_logits.weight": (80, 256, 1, 1),
    }
    with torch.device("meta"):
        parts = {
            "rpn": RPN(256, STRIDES, options),
            "roi_heads": RoIHeads(256, STRIDES[:4], 80, options),
        }
        file = {key: torch.empty(shape) for key, shape in shapes.items()}
    state = {f"{n}.{k}": v.shape for n, part in parts.items() for k, v in part.state_dict().items()}
    renamed = rename(file, KeyMap(MMDET_HEAD))
    assert len(renamed.kept) == len(shapes)
    assert {key: value.shape for key, value in renamed.kept.items()}.items() <= state.items()


def test_mmdets_cascade_stays_unknown_and_both_layouts_are_found_by_name():
    keys = ["roi_head.bbox_head.0.fc_cls.weight", "roi_head.mask_head.2.conv_logits.weight"]
    renamed = rename(dict.fromkeys(keys, torch.zeros(0)), KeyMap(MMDET_HEAD))
    assert sorted(renamed.unknown) == sorted(keys)
    assert HEADS == {"detectron2": DETECTRON2_HEAD, "mmdet": MMDET_HEAD}
