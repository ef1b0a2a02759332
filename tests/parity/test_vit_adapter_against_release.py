"""ViT-Adapter against the released code, on weights and images stored from its own run.

A cut is committed; the whole set is checked where `MIMDET_GOLDEN` (or `shared/golden` beside the
checkout) holds it. Weights go through the public key map.

Tolerances: maps `rtol 1e-4, atol 2e-4`, several times the released code's own distance from double
precision (6e-5 at most); gradients 1e-4 in the L2 norm, plus 1e-8 for the two biases that feed a
batch norm and so have no gradient but rounding; the deformable core 2e-5 of the largest value
against double precision, which the released single precision also reaches.
"""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from detectors import detector_on
from safetensors import safe_open
from torch import Tensor
from torch.testing import assert_close

from backbones.key_maps.rename import rename
from backbones.vit_adapter import ViTAdapter, ViTAdapterOptions
from backbones.vit_adapter.deform_attention import DeformableAttention, centres, deformable_sum
from heads.key_maps import HEADS
from heads.mask_rcnn import MaskRCNN
from heads.options import HeadOptions
from mimdet_cli.engine.optim import rates
from mimdet_cli.recipe.schema import Optimizer

HERE = Path(__file__).resolve()
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", HERE.parents[3] / "shared/golden")) / "vit_adapter"
FIXTURES = HERE.parent / "fixtures"
MAPS = ("f1", "f2", "f3", "f4")
EVALUATIONS = (
    "mini_global",
    "mini_window",
    "mini_window_uneven",
    "mini_mae_style",
    "mini_no_vitfeat_no_cffn",
    "mini_small_scale",
    "mini_single_interaction",
    "base_window_256x320",
)
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Golden:
    """One file: its tensors, and what its metadata says."""

    tensors: Tensors
    meta: dict[str, Any]

    def below(self, prefix: str) -> Tensors:
        """Tensors whose name starts with `prefix`, without it."""
        found = {k: v for k, v in self.tensors.items() if k.startswith(prefix)}
        return {key.removeprefix(prefix): tensor for key, tensor in found.items()}


@cache
def golden(name: str) -> Golden:
    path = GOLDEN / f"{name}.safetensors"
    if not path.exists():
        path = FIXTURES / f"vit_adapter_{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no {name}: set MIMDET_GOLDEN to the folder of the whole set")
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return Golden(tensors, json.loads(file.metadata()["meta"]))


def options(config: dict[str, Any]) -> ViTAdapterOptions:
    """Our options for the released constructor's arguments."""
    windowed = config.get("window_attn", [False] * config["depth"])
    sides = [side for side in config.get("window_size", []) if side]
    ends = tuple(last for _, last in config["interaction_indexes"])
    return ViTAdapterOptions(
        width=config["embed_dim"],
        depth=config["depth"],
        heads=config["num_heads"],
        window=max(sides, default=14),
        global_blocks=tuple(i for i, inside in enumerate(windowed) if not inside),
        drop_path=config["drop_path_rate"],
        layer_scale=1.0 if config.get("layer_scale", True) else None,
        grid=config.get("pretrain_size", 224) // 16,
        conv_width=config["conv_inplane"],
        interactions=len(ends),
        interaction_ends=ends,
        extra_extractors=2 if config.get("use_extra_extractor", True) else 0,
        deform_heads=config["deform_num_heads"],
        deform_ratio=config["deform_ratio"],
        points=config["n_points"],
        cffn_ratio=config["cffn_ratio"] if config.get("with_cffn", True) else 0.0,
        add_vit_feature=config.get("add_vit_feature", True),
        channels=8,
    )


def ours(theirs: Tensors, model: ViTAdapter) -> Tensors:
    """Released names of a backbone's tensors to ours, by the public key map."""
    whole = {f"backbone.{key}": tensor for key, tensor in theirs.items()}
    renamed = rename(whole, model.key_maps["vit_adapter_release"])
    assert renamed.unknown == ()
    assert renamed.dropped == {}
    return {key.removeprefix("backbone."): tensor for key, tensor in renamed.kept.items()}


def loaded(case: Golden) -> ViTAdapter:
    weights = case.meta.get("weights_file")
    theirs = golden(weights).below("state.") if weights else case.below("state.")
    model = ViTAdapter(options(case.meta["config"])).train(case.meta["mode"] == "train")
    state, own = ours(theirs, model), model.state_dict()
    assert set(own) - set(state) == {key for key in own if key.startswith("neck.")}
    model.load_state_dict({**own, **state})
    return model


@pytest.mark.parametrize("name", EVALUATIONS)
def test_maps_equal_the_released_ones(name):
    case = golden(name)
    with torch.no_grad():
        maps = loaded(case).features(case.tensors["image"])
    for ours, theirs in zip(maps, MAPS, strict=True):
        assert_close(ours, case.tensors[theirs], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", EVALUATIONS[:-1])
def test_every_step_between_image_and_maps_equals_the_released_one(name):
    case, steps = golden(name), {}
    model, image = loaded(case), case.tensors["image"]
    with torch.no_grad():
        tokens = model.embed(image)
        spatial = model.look(model.spm, image)
        steps |= {"spm.c1": spatial.finest, "inter.in.c": spatial.cells, "inter.in.x": tokens}
        for i, (interaction, group) in enumerate(
            zip(model.interactions, model.options.groups, strict=True)
        ):
            tokens = interaction.inject(tokens, spatial)
            steps[f"inter{i}.injected_x"] = tokens
            tokens = model.run(group, tokens, [])
            spatial = interaction.extract(spatial, tokens)
            steps |= {f"inter{i}.x": tokens, f"inter{i}.c": spatial.cells}
    assert len(steps) >= 6
    for key, step in steps.items():
        step = step.flatten(1, 2) if key.endswith("x") else step
        assert_close(
            step, case.tensors[key], rtol=1e-4, atol=2e-4, msg=lambda m, k=key: f"{k}: {m}"
        )


def test_loss_gradients_and_running_statistics_of_a_training_step_equal_the_released_ones():
    case = golden("mini_train")
    model = loaded(case)
    image = case.tensors["image"].requires_grad_()
    maps = model.features(image)
    for ours_, theirs in zip(maps, MAPS, strict=True):
        assert_close(ours_, case.tensors[theirs], rtol=1e-4, atol=2e-4)
    loss = sum((x * case.tensors[f"probe{i + 1}"]).mean() for i, x in enumerate(maps))
    loss.backward()
    assert_close(loss.detach(), case.tensors["loss"].squeeze(), rtol=1e-4, atol=1e-6)

    theirs = case.below("grad.")
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    expected = {"image": theirs.pop("image"), **ours(theirs, model)}
    found["image"] = image.grad
    assert len(expected) >= 150
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm()
        assert difference <= 1e-4 * gradient.norm() + 1e-8, name

    after = ours(case.below("after."), model)
    buffers = dict(model.named_buffers())
    assert len(after) == 30
    for name, buffer in after.items():
        assert_close(buffers[name], buffer, rtol=1e-5, atol=1e-5)


CORES = ("three_levels", "one_level", "out_of_range", "tiny_levels", "odd_points_heads")


@pytest.mark.parametrize("name", CORES)
def test_deformable_sum_and_its_gradients_equal_the_released_ones(name):
    case = golden("msda_core").below(f"{name}.")
    if not case:
        pytest.skip(f"the committed cut leaves {name} out")
    value, locations, weights = (
        case[key].clone().requires_grad_() for key in ("value", "loc", "attn")
    )
    grids = [tuple(grid) for grid in case["shapes"].tolist()]
    out = deformable_sum(value, grids, locations, weights)
    out.backward(case["grad_out"])
    found = {
        "out": out,
        "grad_value": value.grad,
        "grad_loc": locations.grad,
        "grad_attn": weights.grad,
    }
    for key, tensor in found.items():
        exact = case[key]
        assert (tensor.double() - exact).abs().max() <= 2e-5 * exact.abs().max(), key


@pytest.mark.parametrize("name", ["inj", "ext", "inj_half", "ext_half"])
def test_deformable_attention_and_its_gradients_equal_the_released_ones(name):
    whole = golden("msda_module")
    case, sizes = whole.below(f"{name}."), whole.meta["cases"][name]
    if not case:
        pytest.skip(f"the committed cut leaves {name} out")
    module = DeformableAttention(
        sizes["d_model"],
        int(sizes["d_model"] * sizes["ratio"]),
        heads=sizes["n_heads"],
        levels=sizes["n_levels"],
        points=sizes["n_points"],
    )
    module.load_state_dict({key[6:]: x for key, x in case.items() if key.startswith("state.")})
    query, features = (case[key].clone().requires_grad_() for key in ("query", "feat"))
    query_grids, grids = (
        [tuple(grid) for grid in sizes[key]] for key in ("query_shapes", "value_shapes")
    )
    out = module(query, query_grids, features, grids)
    out.backward(case["grad_out"])
    assert_close(centres(query_grids, query.device)[None, :, None], case["ref"])
    assert_close(out, case["out"], rtol=1e-4, atol=2e-5)
    assert_close(query.grad, case["grad_query"], rtol=1e-4, atol=2e-5)
    assert_close(features.grad, case["grad_feat"], rtol=1e-4, atol=2e-5)


@cache
def groups() -> dict[str, Any]:
    path = GOLDEN / "optim_groups.json"
    path = path if path.exists() else FIXTURES / "vit_adapter_optim_groups.json"
    return json.loads(path.read_text())


def small_detector(**changes: Any) -> MaskRCNN:
    case = golden("mini_train")
    backbone = ViTAdapter(options(case.meta["config"]).model_copy(update=changes))
    settings = HeadOptions(rpn_convs=1, box_head="2fc", norm="none", channels=8, fc_channels=8)
    return detector_on(backbone, 3, settings)


def rates_by_our_name(detector: MaskRCNN, optimizer: Optimizer) -> dict[str, tuple[float, float]]:
    return {rate.name: (rate.factor, rate.weight_decay) for rate in rates(detector, optimizer)}


def names(theirs: list[str], detector: MaskRCNN) -> dict[str, str]:
    """Released parameter names of a detector to ours."""
    key_map = detector.backbone.key_maps["vit_adapter_release"]
    rules = {**key_map.rules, **HEADS["mmdet"]}
    renamed = rename(dict.fromkeys(theirs, torch.zeros(0)), type(key_map)(rules))
    assert renamed.unknown == ()
    return {source: name for name, (source,) in renamed.sources.items()}


def test_weight_decay_of_tiny_small_and_base_follows_the_released_names():
    detector = small_detector()
    found = rates_by_our_name(detector, Optimizer(weight_decay=0.05, multiplier=1.0))
    expected = groups()["mini_custom_keys_wd"]
    assert len(expected) >= 270
    for theirs, name in names(list(expected), detector).items():
        assert found[name] == (1.0, expected[theirs]), name


def test_layer_decay_of_large_follows_the_released_constructor():
    detector = small_detector(decay_exceptions=False)
    recipe = Optimizer(weight_decay=0.05, layer_decay=0.8, no_decay="one_dim")
    found = rates_by_our_name(detector, recipe)
    expected = groups()["mini_layer_decay_0.8"]
    assert len(expected) >= 270
    for theirs, name in names(list(expected), detector).items():
        factor, decay, _ = expected[theirs]
        assert found[name] == (pytest.approx(factor), decay), name


def test_groups_of_the_full_small_and_large_are_the_released_ones():
    with torch.device("meta"):
        small = detector_on(ViTAdapter(ViTAdapterOptions()), 80, HeadOptions(norm="none"))
        large = small_detector(depth=24, interaction_ends=None, decay_exceptions=False)
    decayed = rates_by_our_name(small, Optimizer(weight_decay=0.05))
    vectors = {
        name
        for name, parameter in small.named_parameters()
        if parameter.ndim == 1 and decayed[name][1] > 0
    }
    assert vectors == set(names(groups()["S_custom_keys_decayed_1d"], small).values())

    recipe = Optimizer(weight_decay=0.05, layer_decay=0.8, no_decay="one_dim")
    found = rates_by_our_name(large, recipe)
    expected = groups()["L_selected"]
    for theirs, name in names(list(expected), large).items():
        factor, decay, _ = expected[theirs]
        assert found[name] == (pytest.approx(factor), decay), name
