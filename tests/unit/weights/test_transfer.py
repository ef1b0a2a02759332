"""Weights of one of our detectors fill another: class layers are reset, all else must fit."""

import re
from pathlib import Path

import pytest
import torch
from detectors import detector_on

from backbones.vitdet import ViTDet, ViTDetOptions
from heads.key_maps import follows_classes
from heads.options import HeadOptions
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.transfer import transfer

FILE = Path("run/last/model.safetensors")
BACKBONE = {
    "width": 16, "depth": 2, "heads": 2, "window": 2, "global_blocks": (1,), "image_size": 64,
    "channels": 8,
}  # fmt: skip
HEAD = {"norm": "ln", "channels": 8, "fc_channels": 8}


def detector(classes=3, seed=0, backbone=None, **head):
    torch.manual_seed(seed)
    built = ViTDet(ViTDetOptions(**{**BACKBONE, **(backbone or {})}))
    return detector_on(built, classes, HeadOptions(**{**HEAD, **head}))


def fill(model, tensors, *, same_classes=True):
    maps = model.backbone.key_maps
    return transfer(model, tensors, maps, same_classes=same_classes, file=FILE, fix="mend it.")


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("box_head", ["4conv1fc", "2fc"])
def test_class_layers_are_those_whose_shapes_follow_the_number_of_classes(cascade, mask, box_head):
    options = {"cascade": cascade, "mask": mask, "box_head": box_head}
    three, four = (detector(classes, **options).state_dict() for classes in (3, 4))
    following = {key for key in three if three[key].shape != four[key].shape}
    assert len(following) >= 4
    assert {key for key in three if follows_classes(key)} == following


def test_equal_classes_take_everything_over():
    source, model = detector(seed=1).state_dict(), detector(seed=2)
    report = fill(model, source)
    assert all(torch.equal(value, source[key]) for key, value in model.state_dict().items())
    assert set(report.loaded) == set(source)
    assert (report.share, report.fresh, report.dropped) == (1.0, (), {})


def test_layers_of_other_classes_are_reset_and_named():
    source, model = detector(5, seed=1).state_dict(), detector(3, seed=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = fill(model, source, same_classes=False)
    reset = {f"roi_heads.{layer}.{leaf}"
            for layer in ("box_predictor.scores", "box_predictor.deltas", "mask_head.logits")
            for leaf in ("weight", "bias")}  # fmt: skip
    assert set(report.fresh) == set(report.dropped) == reset
    assert set(report.dropped.values()) == {"the classes differ"}
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in reset else source[key]), key


def test_layers_of_as_many_other_classes_are_reset_too():
    report = fill(detector(seed=2), detector(seed=1).state_dict(), same_classes=False)
    assert len(report.fresh) == 6


def test_a_cascade_keeps_the_boxes_that_its_classes_share():
    source, model = detector(5, seed=1, cascade=True), detector(3, seed=2, cascade=True)
    report = fill(model, source.state_dict(), same_classes=False)
    assert "roi_heads.box_predictor.2.scores.weight" in report.fresh
    assert "roi_heads.box_predictor.2.deltas.weight" in report.loaded


@pytest.mark.parametrize("here", [True, False])
def test_a_mask_head_that_only_one_of_the_two_has_is_left_out_and_said(here):
    source, model = detector(mask=not here, seed=1), detector(mask=here, seed=2)
    report = fill(model, source.state_dict())
    masks = [key for key in (*report.fresh, *report.dropped) if "mask_head" in key]
    assert len(masks) >= 10
    assert bool(report.fresh) is here
    reasons = set() if here else {"only one of the two predicts masks"}
    assert set(report.dropped.values()) == reasons


def test_every_tensor_of_another_shape_or_name_is_named():
    source = detector(seed=1).state_dict()
    model = detector(seed=2, backbone={"channels": 4}, rpn_convs=1)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        fill(model, source)
    error = caught.value
    assert re.match(
        r"the checkpoint does not fit the recipe's model; \d+ tensors differ: ", error.what
    )
    assert error.what.count("in the checkpoint") == 8
    assert re.search(r" and \d+ more\.$", error.what)
    assert (error.where, error.fix) == (str(FILE), "mend it.")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_tensors_that_are_missing_or_strange_are_named():
    source = detector(seed=1).state_dict()
    source["stray"] = torch.ones(2)
    del source["rpn.objectness.bias"]
    with pytest.raises(WeightsError) as caught:
        fill(detector(seed=2), source)
    assert "stray ((2,) in the checkpoint, absent in the recipe's model)" in caught.value.what
    assert "rpn.objectness.bias (absent in the checkpoint, (3,) in" in caught.value.what


def test_position_tables_of_another_grid_are_resized_as_the_backbone_resizes_them():
    source = detector(seed=1).state_dict()
    smaller = source["backbone.pos_embed"][:, : 1 + 5 * 5]
    model = detector(seed=2)
    report = fill(model, {**source, "backbone.pos_embed": smaller})
    assert report.resized == ("backbone.pos_embed",)
    resizer = model.backbone.key_maps["detectron2_vitdet"].resizer("backbone.pos_embed")
    wanted = resizer(smaller, source["backbone.pos_embed"].shape)
    assert torch.equal(model.state_dict()["backbone.pos_embed"], wanted)
