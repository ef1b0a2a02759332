"""Whole released files of every layout become runs, tensor by tensor."""

import json
import re
from pathlib import Path

import pytest
import torch
from detectors import detector_of
from safetensors.torch import load_file
from zoo import SMALL, SMALL_DATA, SMALL_HEAD

from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError, WeightsError
from mimdet_cli.jobs.class_names import coco_classes, name_classes
from mimdet_cli.jobs.converting import Released, convert
from mimdet_cli.jobs.run_folder import open_checkpoint
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.weights.write import detectron2_names

CPU = torch.device("cpu")
MMDET = (  # ours -> theirs, as mmdetection 2 and the released ViT-Adapter name them
    (r"backbone\.(blocks\.\d+)\.ls(\d)\.gamma", r"backbone.\1.gamma\2"),
    (r"backbone\.convs\.(\d+)\.(.*)", r"backbone.blocks.\1.residual.\2"),
    (r"backbone\.scale\.up4\.(.*)", r"backbone.up1.\1"),
    (r"backbone\.scale\.up2\.(.*)", r"backbone.up2.\1"),
    (r"backbone\.norms\.(\d)\.(.*)", lambda m: f"backbone.norm{int(m[1]) + 1}.{m[2]}"),
    (r"backbone\.(?:neck|fpn)\.lateral\.(\d)\.conv\.(.*)", r"neck.lateral_convs.\1.conv.\2"),
    (r"backbone\.(?:neck|fpn)\.output\.(\d)\.conv\.(.*)", r"neck.fpn_convs.\1.conv.\2"),
    (r"backbone\.(?:neck|fpn)\.lateral\.(\d)\.norm\.(.*)", r"neck.lateral_convs.\1.bn.\2"),
    (r"backbone\.(?:neck|fpn)\.output\.(\d)\.norm\.(.*)", r"neck.fpn_convs.\1.bn.\2"),
    (r"(.*)\.extractors\.0\.(.*)", r"\1.extractor.\2"),
    (r"(.*)\.extractors\.1\.(.*)", r"\1.extra_extractors.0.\2"),
    (r"(.*)\.extractors\.2\.(.*)", r"\1.extra_extractors.1.\2"),
    (r"(.*\.ffn\.dwconv)\.(.*)", r"\1.dwconv.\2"),
    (r"rpn\.convs\.0\.(.*)", r"rpn_head.rpn_conv.\1"),
    (r"rpn\.objectness\.(.*)", r"rpn_head.rpn_cls.\1"),
    (r"rpn\.deltas\.(.*)", r"rpn_head.rpn_reg.\1"),
    (r"roi_heads\.box_head\.fcs\.(.*)", r"roi_head.bbox_head.shared_fcs.\1"),
    (r"roi_heads\.box_predictor\.scores\.(.*)", r"roi_head.bbox_head.fc_cls.\1"),
    (r"roi_heads\.box_predictor\.deltas\.(.*)", r"roi_head.bbox_head.fc_reg.\1"),
    (r"roi_heads\.mask_head\.convs\.(.*)", r"roi_head.mask_head.convs.\1"),
    (r"roi_heads\.mask_head\.up\.(.*)", r"roi_head.mask_head.upsample.\1"),
    (r"roi_heads\.mask_head\.logits\.(.*)", r"roi_head.mask_head.conv_logits.\1"),
)  # fmt: skip
MMDET_HEAD = {"rules": "mmdet", "rpn_convs": 1, "box_head": "2fc", "norm": "none"}
CASES = {
    "mimdet_release": ("mimdet", {"fill": "stem"}, {}),
    "mimdet_release of mask tokens": ("mimdet", {"fill": "mask"}, {}),
    "detectron2_vitdet": ("vitdet", {}, {"norm": "ln"}),
    "detectron2_vitdet in a cascade": ("vitdet", {}, {"norm": "ln", "cascade": True}),
    "li2021_release": ("vit_fpn", {"form": "li2021"}, {"norm": "bn"}),
    "vit_adapter_release": ("vit_adapter", {}, MMDET_HEAD),
    "vit_adapter_baseline": ("vit_fpn", {"form": "vit"}, MMDET_HEAD),
    "vit_adapter_baseline with convolutions": ("vit_fpn", {"form": "conv"}, MMDET_HEAD),
}


def mmdet_name(key: str) -> str:
    for ours, theirs in MMDET:
        key = re.sub(f"^{ours}$", theirs, key)
    return key


def small(tmp_path: Path, backbone: str, options: dict, head: dict) -> Path:
    section = {"name": backbone, **SMALL[backbone], **options}
    recipe = {"backbone": section, "head": {**SMALL_HEAD, **head}, "data": SMALL_DATA}
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return path


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_of_a_released_layout_arrives(case, tmp_path):
    layout = case.split(" ")[0]
    recipe = small(tmp_path, *CASES[case])
    detector = detector_of(recipe, "seed=5", classes=6)
    own = detector.state_dict()
    if CASES[case][2].get("rules") == "mmdet":
        names, wrapper = {key: mmdet_name(key) for key in own}, "state_dict"
    else:
        names, wrapper = detectron2_names(own, detector.backbone.key_maps), "model"
    file = tmp_path / "released.pth"
    torch.save({wrapper: {names[key]: own[key] for key in own}, "meta": {}}, file)

    report = convert(load_recipe(recipe), Released(file), out=tmp_path / "run", progress=Console())
    assert (report.conversion.layout, report.conversion.report.share) == (layout, 1.0)
    assert report.conversion.report.fresh == report.conversion.report.missing == ()
    found = load_file(tmp_path / "run/last/model.safetensors")
    assert found.keys() == own.keys()
    assert len(found) > 100
    assert all(torch.equal(found[key], own[key]) for key in own)
    checkpoint = open_checkpoint(tmp_path / "run")
    assert (checkpoint.step, len(checkpoint.categories)) == (0, 6)
    assert not checkpoint.detector(CPU).training


def test_a_backbone_without_a_released_detector_is_refused(tmp_path):
    recipe = small(tmp_path, "timm_fpn", {}, {})
    file = tmp_path / "file.pth"
    torch.save({"a": torch.ones(1)}, file)
    with pytest.raises(RecipeError, match="reads no format of whole detectors") as caught:
        convert(load_recipe(recipe), Released(file), out=tmp_path / "run", progress=Console())
    assert caught.value.where == "--recipe"


def test_a_file_of_a_backbone_alone_is_refused(tmp_path):
    recipe = small(tmp_path, "vitdet", {}, {})
    file = tmp_path / "mae.pth"
    torch.save({"model": {"patch_embed.proj.bias": torch.ones(32)}}, file)
    with pytest.raises(WeightsError, match="no class scores in detectron2's layout"):
        convert(load_recipe(recipe), Released(file), out=tmp_path / "run", progress=Console())
    assert not (tmp_path / "run").exists()


def test_classes_are_cocos_only_where_there_are_eighty():
    eighty, source = name_classes(80, None, None)
    assert (eighty, source) == (coco_classes(), "COCO's")
    assert [category.id for category in eighty] == sorted({category.id for category in eighty})
    assert (eighty[79].id, eighty[62].name) == (90, "tv")
    three, source = name_classes(3, None, None)
    assert [(category.id, category.name) for category in three] == [
        (i, f"class {i}") for i in (1, 2, 3)
    ]
    assert source.startswith("numbered")


def test_names_of_a_file_win_over_cocos(tmp_path):
    names = [f"kind {i}" for i in range(80)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    found, _ = name_classes(80, tmp_path / "names.txt", None)
    assert [category.name for category in found] == names
