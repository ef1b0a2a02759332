"""Tiny backbones: the same architecture, few parameters, valid for all recipes."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import pytest
import torch
from detectors import completed, detector_of
from pydantic import ValidationError
from zoo import photographs, targets

from backbones.contract import Backbone
from backbones.options.base import BackboneOptions
from heads.mask_rcnn import MaskRCNN
from mimdet_cli import plugins
from mimdet_cli.build import backbone_class
from mimdet_cli.recipe.catalog import shipped_names
from mimdet_cli.recipe.schema import CompletedBackbone

BACKBONES = sorted(
    entry.name for entry in entry_points(group=plugins.GROUP) if entry.dist.name == "mimdet"
)
RECIPES = shipped_names()
NOT_SHRUNK = {"mvitv2_base_3x", "mvitv2_large_3x"}
"""timm has no MViTv2 below 24 million parameters, and its constructor takes no other widths."""
LARGEST = 8e6

KEPT = {
    "mimdet": (
        "decoder_layers", "train_ratio", "eval_ratio", "sampling", "input", "fill", "p5", "stem",
        "pyramid",
    ),
    "vitdet": ("rel_pos", "decay_exceptions"),
    "vit_fpn": ("form", "decay_exceptions"),
    "vit_adapter": (
        "encoder", "layer_scale", "parts", "interactions", "extra_extractors", "attention",
        "deform_ratio", "points", "cffn_ratio", "add_vit_feature", "neck", "decay_exceptions",
    ),
    "timm_fpn": (),
}  # fmt: skip
"""What an architecture is by its options, whatever its size."""


def shrunk(name: str, options: Mapping[str, Any]) -> BackboneOptions | None:
    """Options of the backbone at its tiny size."""
    kind = backbone_class(name)
    smaller = kind.tiny(options)
    return None if smaller is None else kind.Options.model_validate({**options, **smaller})


@cache
def backbone_of(name: str) -> CompletedBackbone:
    return completed(name).backbone


def detector_on(name: str, options: BackboneOptions) -> MaskRCNN:
    """The demo's detector on that backbone, for images of at most 128 pixels."""
    section = CompletedBackbone(name=name, options=options)
    demo = completed("demo", "data.max_side=128", "data.eval_max_side=128")
    return detector_of(demo.model_copy(update={"backbone": section}))


def parameters(name: str, options: BackboneOptions) -> int:
    """Parameters of the demo's detector on that backbone."""
    with torch.device("meta"):
        return sum(p.numel() for p in detector_on(name, options).parameters())


def test_the_lists_are_not_short():
    assert BACKBONES == ["mimdet", "timm_fpn", "vit_adapter", "vit_fpn", "vitdet"]
    assert len(RECIPES) >= 50
    assert set(RECIPES) >= NOT_SHRUNK


def test_a_backbone_that_does_not_say_otherwise_has_no_tiny_size():
    assert Backbone.tiny({}) is None


@pytest.mark.parametrize("name", BACKBONES)
def test_defaults_of_every_backbone_shrink(name):
    small = shrunk(name, backbone_class(name).Options().model_dump(mode="json"))
    assert parameters(name, small) < LARGEST


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in NOT_SHRUNK])
def test_backbone_of_a_shipped_recipe_shrinks_to_one_of_the_same_kind(recipe):
    section = backbone_of(recipe)
    options = dict(section.values)
    small = shrunk(section.name, options)
    kept = small.model_dump(mode="json")
    assert {key: kept[key] for key in KEPT[section.name]} == {
        key: options[key] for key in KEPT[section.name]
    }
    assert parameters(section.name, small) < LARGEST


@pytest.mark.parametrize("recipe", sorted(NOT_SHRUNK))
def test_mvitv2_has_no_tiny_size(recipe):
    section = backbone_of(recipe)
    assert shrunk(section.name, section.values) is None


@pytest.mark.parametrize("family", ["swin", "convnext", "pvt", "resnet"])
def test_model_of_timm_shrinks_within_its_family(family):
    large = {"swin": "swin_large_patch4_window12_384", "convnext": "convnext_xlarge",
             "pvt": "pvt_v2_b5", "resnet": "resnet152"}[family]  # fmt: skip
    small = shrunk("timm_fpn", {"model": large, "frozen_stages": 1})
    assert small.model.startswith(family)
    assert (small.frozen_stages, small.frozen_bn) == (-1, False)


def test_swin_takes_another_width_and_other_families_refuse_it():
    narrow = shrunk("timm_fpn", {"model": "swin_tiny_patch4_window7_224"})
    assert narrow.width == 32
    norms = backbone_class("timm_fpn")(narrow).out_norms
    assert [norm.weight.numel() for norm in norms] == [32, 64, 128, 256]
    with pytest.raises(ValidationError, match="'convnext_tiny' has a fixed width; omit it"):
        backbone_class("timm_fpn").Options(model="convnext_tiny", width=64)


def test_plain_vits_compare_at_one_size():
    plain = [name for name in BACKBONES if name != "timm_fpn"]
    sizes = [shrunk(name, {}) for name in plain]
    assert len(plain) == 4
    assert {(options.width, options.depth, options.heads, options.window) for options in sizes} == {
        (128, 12, 4, 4)
    }


@pytest.mark.parametrize("count", range(13))
def test_every_number_of_interactions_finds_a_depth_that_it_divides(count):
    small = shrunk("vit_adapter", {"interactions": count, "depth": 12 * max(1, count)})
    assert small.interactions == count
    assert small.depth == {5: 20, 7: 28, 8: 16, 9: 36, 10: 20, 11: 44}.get(count, 12)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 6])
def test_interactions_of_the_published_table_share_one_depth(count):
    small = shrunk("vit_adapter", {"interactions": 4})
    options = small.model_dump() | {"interactions": count}
    assert backbone_class("vit_adapter").Options.model_validate(options).depth == 12


OPTIONS = [
    ("mimdet", {"pyramid": "vit", "train_ratio": 1.0}),
    ("mimdet", {"input": "windows", "decoder_layers": 0, "train_ratio": 1.0, "window": 16}),
    ("mimdet", {"stem": "convnext", "sampling": "grid", "fill": "mask", "decoder_layers": 8}),
    ("vitdet", {"depth": 6, "global_blocks": [5], "window": 20, "rel_pos": False}),
    ("vit_fpn", {"form": "conv", "depth": 24, "conv_blocks": [23], "window": 14}),
    ("vit_adapter", {"depth": 24, "interactions": 2, "interaction_ends": [3, 23]}),
    ("vit_adapter", {"attention": "pale", "neck": "conv", "deform_ratio": 0.5}),
    ("vit_adapter", {"encoder": "beit", "global_window": 56, "layer_scale": 1e-6}),
    ("timm_fpn", {"model": "swin_base_patch4_window7_224"}),
    ("timm_fpn", {"model": "resnet50", "frozen_bn": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_options_that_hang_on_the_size_follow_it_and_the_detector_learns(name, options):
    detector = detector_on(name, shrunk(name, options)).train()
    sum(detector(photographs(), targets()).values()).backward()
    learning = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    unused = ("backbone.decoder.stem_proj.",)  # nothing is left to fill where all tokens are kept
    assert [n for n, p in learning.items() if p.grad is None and not n.startswith(unused)] == []
