"""The composition root: names become objects, and what does not fit is explained."""

from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import torch
from detectors import completed
from torch import nn

from backbones.contract import Backbone
from backbones.mimdet import MIMDet
from backbones.options.base import Section, for_one_process
from backbones.options.vit_adapter import ViTAdapterOptions
from mimdet_cli import build
from mimdet_cli.backbone_class import breach
from mimdet_cli.build import (
    backbone_class,
    build_detector,
    build_state,
    build_step,
    choose_device,
    read_split,
    step_batches,
    usable_precision,
)
from mimdet_cli.errors import DataError, PluginError, RecipeError, ResourceError
from mimdet_cli.plugin_api import NORM_NAME, Norm
from mimdet_cli.recipe.schema import Data, Recipe, Train

CPU = torch.device("cpu")


def test_backbone_is_found_by_its_entry_point():
    assert backbone_class("mimdet") is MIMDet


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (nn.Linear, "not a subclass of Backbone"),
        ("mimdet", "is 'mimdet', not a subclass"),
        (type("Old", (MIMDet,), {"contract": 0}), "implements contract version 0"),
        (type("Half", (Backbone,), {"depth": 1}), "does not define depth_of, forward"),
        (type("Bare", (MIMDet,), {"Options": None}), "has no Options"),
    ],
)
def test_plugin_that_breaks_the_contract_is_refused(monkeypatch, found, what):
    monkeypatch.setattr(build.plugins, "load", lambda name: found)
    with pytest.raises(PluginError, match=what) as caught:
        backbone_class("vitdet")
    assert caught.value.where.startswith("backbones.vitdet:ViTDet of mimdet ")


FROM_OPTIONS = {"from_options": classmethod(MIMDet)}


@pytest.mark.parametrize(
    ("members", "told"),
    [
        (FROM_OPTIONS | {"contract": 1}, ""),
        (FROM_OPTIONS, " It has `from_options` of version 1."),
        ({"tokens": None}, " It has `tokens` of version 1."),
        (
            FROM_OPTIONS | {"tokens": property(id)},
            " It has `from_options` and `tokens` of version 1.",
        ),
    ],
)
def test_class_of_version_1_is_refused_with_the_edit_to_make(monkeypatch, members, told):
    first = type("First", (MIMDet,), members)
    monkeypatch.setattr(build.plugins, "load", lambda name: first)
    with pytest.raises(PluginError) as caught:
        backbone_class("mimdet")
    assert caught.value.exit_code == 5
    assert caught.value.what == (
        "the backbone 'mimdet' implements contract version 1; mimdet needs 2." + told
    )
    assert caught.value.fix.endswith(
        "replace `from_options` by `__init__(self, options)`, which starts with "
        "`super().__init__(options)`; replace the attribute `tokens` by "
        "`tokens_seen(height, width)`; name the option that --ratio sets in "
        "`Options.token_sampling`; write key maps and the `names` (not `pattern`) of a "
        "`ParameterRule` as templates such as `blocks.{i}.{rest}`, not regular expressions; and "
        "set `contract = 2`."
    )


@pytest.mark.parametrize(
    "members",
    [
        FROM_OPTIONS | {"tokens": None, "contract": 2},
        {"tokens": lambda self, images: images},
    ],
)
def test_names_of_version_1_are_free_in_a_class_of_version_2(members):
    assert breach(type("Second", (MIMDet,), members)) is None
    assert breach(type("Derived", (type("Second", (MIMDet,), members),), {})) is None


def test_backbone_that_has_not_set_what_the_head_needs_is_refused(tiny, monkeypatch):
    class Unset(MIMDet):
        def __init__(self, options):
            super().__init__(options)
            self.levels = ()
            self.padding = None

    recipe = completed(tiny)
    monkeypatch.setattr(build.plugins, "load", lambda name: Unset)
    with pytest.raises(PluginError) as caught:
        build_detector(recipe, 3)
    assert caught.value.what == (
        "the backbone 'mimdet' does not set padding (a Padding) or levels (a tuple of Level)."
    )


def test_completed_recipe_holds_every_option_of_its_backbone(tiny):
    recipe = completed(tiny)
    assert set(recipe.backbone.values) == set(MIMDet.Options.model_fields)
    assert recipe.backbone.values["width"] == 32
    assert recipe.backbone.values["eval_ratio"] == 1.0


def test_same_seed_draws_the_same_weights(tiny):
    states = [build_detector(completed(tiny, f"seed={seed}"), 3).state_dict() for seed in (4, 4, 5)]
    name = "backbone.encoder.blocks.0.attn.qkv.weight"
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0][name], states[2][name])


def test_synchronised_norm_is_a_plain_one_where_there_is_one_process(tiny):
    recipe = completed(tiny, "head.norm=syncbn", "head.box_head=4conv1fc", "backbone.norm=syncbn")
    alone, shared = build_detector(recipe, 3), build_detector(recipe, 3, world=2)

    def kinds(model):
        return {type(m) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}

    assert kinds(alone) == {nn.BatchNorm2d}
    assert kinds(shared) == {nn.SyncBatchNorm}
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (alone, shared)]
    assert shapes[0] == shapes[1]


class Inner(Section):
    """A section inside a plugin's options."""

    norm: Norm = "syncbn"
    """A nested one."""


class PluginOptions(MIMDet.Options):
    """Options as a plugin may have them."""

    fpn_norm: Norm = "syncbn"
    """Another name."""
    neck_norm: Norm | None = "syncbn"
    """One that may be absent."""
    stage_norms: tuple[Norm, ...] = ("syncbn", "ln")
    """Several."""
    few: Annotated[Literal["bn", "syncbn"], NORM_NAME] = "syncbn"
    """Fewer names."""
    inner: Inner = Inner()
    """A section."""
    word: str = "syncbn"
    """Text that is no normalisation."""


class Plugin(MIMDet):
    """Keeps what it is built from."""

    Options = PluginOptions


def test_synchronised_norm_is_plain_wherever_an_option_is_a_norm(tiny, monkeypatch):
    monkeypatch.setattr(build.plugins, "load", lambda name: Plugin)
    monkeypatch.setattr(build.plugins, "options_registration", lambda registration: None)
    recipe = completed(tiny, "backbone.norm=syncbn")
    keys = ("norm", *PluginOptions.model_fields.keys() - MIMDet.Options.model_fields.keys())
    alone, shared = (
        build_detector(recipe, 3, world=world).backbone.options.model_dump(include=set(keys))
        for world in (1, 2)
    )
    assert alone == {
        "norm": "bn", "fpn_norm": "bn", "neck_norm": "bn", "stage_norms": ("bn", "ln"),
        "few": "bn", "inner": {"norm": "bn"}, "word": "syncbn",
    }  # fmt: skip
    assert shared == {
        "norm": "syncbn", "fpn_norm": "syncbn", "neck_norm": "syncbn",
        "stage_norms": ("syncbn", "ln"), "few": "syncbn", "inner": {"norm": "syncbn"},
        "word": "syncbn",
    }  # fmt: skip


def test_both_norms_of_the_adapter_are_plain_in_one_process():
    given = ViTAdapterOptions(norm="syncbn", fpn_norm="syncbn")
    assert for_one_process(given) == ViTAdapterOptions(norm="bn", fpn_norm="bn")


def test_state_and_step_carry_the_scaled_learning_rate(tiny):
    recipe = completed(tiny, "train.batch=8", "optimizer.scale=sqrt")
    state = build_state(recipe, build_detector(recipe, 3), CPU)
    step = build_step(recipe, 10, CPU)
    assert step.lr == pytest.approx(2e-3)
    assert {group["lr"] for group in state.optimizer.param_groups} == {step.lr}
    assert (state.step, state.scaler.is_enabled()) == (0, False)


def test_channels_last_changes_the_memory_order_only(tiny):
    recipe = completed(tiny, "train.channels_last=true")
    plain = build_detector(recipe, 3).state_dict()
    model = build_state(recipe, build_detector(recipe, 3), CPU).model
    weight = model.get_parameter("backbone.stem.stages.1.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(weight, plain["backbone.stem.stages.1.0.weight"])


@pytest.mark.parametrize(
    ("precision", "device", "usable"),
    [("fp16", "cpu", "fp32"), ("fp16", "cuda", "fp16"), ("bf16", "cpu", "bf16")],
)
def test_precision_is_the_recipes_where_the_device_can(precision, device, usable):
    recipe = Recipe(train=Train(steps=1, precision=precision))
    assert usable_precision(recipe, SimpleNamespace(type=device)) == usable


def test_device_is_chosen_by_name():
    assert choose_device("cpu") == CPU
    assert choose_device(None).type in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("name", "kind"), [("cpuu", RecipeError), ("cuda:99", ResourceError), ("", RecipeError)]
)
def test_device_that_cannot_be_used_is_explained(name, kind):
    with pytest.raises(kind) as caught:
        choose_device(name)
    assert caught.value.where == "device"
    assert "\n" not in caught.value.what


@pytest.mark.parametrize("start", [0, 1, 3])
def test_batches_of_a_step_do_not_depend_on_where_the_run_started(tiny, shapes, start):
    recipe = completed(tiny, "train.accumulate=2", data=shapes)
    split = read_split(recipe.data, "train", need_masks=True)

    def ids(first: int) -> list[list[list[int]]]:
        groups = step_batches(recipe, split, CPU, first, 4)
        return [[part.image_ids for part in group] for group in groups]

    whole = ids(0)
    assert [len(group) for group in whole] == [2, 2, 2, 2]
    assert ids(start) == whole[start:]


def test_explicit_paths_stand_in_for_a_root(shapes):
    data = Data(
        val_annotations=str(shapes / "annotations" / "instances_val.json"),
        val_images=str(shapes / "val"),
    )
    assert len(read_split(data, "val", need_masks=True)) == 4
    with pytest.raises(DataError):
        read_split(data, "train", need_masks=True)
