"""Parameter groups follow rules: shown on backbones of other names and sizes than ours."""

from collections import Counter

import pytest
import torch
from detectors import completed, detector_of
from torch import nn

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.options.base import BackboneOptions
from mimdet_cli.engine.optim import OPTIMIZERS, build_optimizer, rates, set_lr
from mimdet_cli.recipe.schema import OPTIMIZER_OPTIONS, Optimizer


class Tower(Backbone):
    """A made-up backbone: a patchifier, numbered floors, a roof; nothing is named as in MIMDet."""

    Options = BackboneOptions
    padding = Padding()
    levels = tuple(Level(f"p{i}", 4, 2**i) for i in (2, 3, 4, 5))
    parameter_rules = (
        ParameterRule("floors.{i}.table", rate="pretrained", decay=False),
        ParameterRule("floors.{rest}", rate="pretrained"),
        ParameterRule("patches.{rest}", rate="plain", decay=True),
    )

    def __init__(self, floors: int = 3) -> None:
        super().__init__(BackboneOptions())
        self.patches = nn.Conv2d(3, 4, 4)
        self.floors = nn.ModuleList(Floor() for _ in range(floors))
        self.roof = nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4))
        self.frozen = nn.Parameter(torch.zeros(1, 9, 4), requires_grad=False)

    def forward(self, images, sizes):
        raise NotImplementedError

    @property
    def depth(self):
        return len(self.floors) + 1

    def depth_of(self, name):
        if name.startswith("patches."):
            return 0
        return int(name.split(".")[1]) + 1 if name.startswith("floors.") else self.depth


class Floor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.mix = nn.Linear(4, 4)
        self.table = nn.Parameter(torch.zeros(5, 4))


class Detector(nn.Module):
    def __init__(self, floors: int = 3) -> None:
        super().__init__()
        self.backbone = Tower(floors)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def rate_of(optimizer: Optimizer, floors: int = 3) -> dict:
    return {rate.name: rate for rate in rates(Detector(floors), optimizer)}


def test_every_trainable_parameter_has_one_rate_and_frozen_ones_none():
    found = rates(Detector(), Optimizer())
    trainable = [name for name, p in Detector().named_parameters() if p.requires_grad]
    assert [rate.name for rate in found] == trainable
    assert len(trainable) > 20
    assert "backbone.frozen" not in trainable


def test_multiplier_divides_pretrained_multiplies_task_and_leaves_plain_parameters():
    found = rate_of(Optimizer(multiplier=4))
    assert found["backbone.floors.0.mix.weight"].factor == 1 / 4
    assert found["backbone.patches.weight"].factor == 1
    assert found["backbone.roof.0.weight"].factor == 4
    assert found["head.0.weight"].factor == 4


@pytest.mark.parametrize("floors", [1, 3, 7])
def test_layer_decay_falls_with_the_distance_from_the_top(floors):
    found = rate_of(Optimizer(layer_decay=0.5), floors)
    for i in range(floors):
        assert found[f"backbone.floors.{i}.mix.bias"].factor == 0.5 ** (floors - i)
    assert found["backbone.patches.bias"].factor == 0.5 ** (floors + 1)
    assert found["backbone.roof.0.bias"].factor == found["head.0.weight"].factor == 1


def test_layer_decay_and_multiplier_are_combined():
    found = rate_of(Optimizer(layer_decay=0.9, multiplier=2))
    assert found["backbone.floors.1.mix.weight"].factor == pytest.approx(0.9**2 / 2)


@pytest.mark.parametrize(
    ("policy", "not_decayed"),
    [
        ("one_dim", {"norm.weight", "norm.bias", "mix.bias"}),
        ("norms", {"norm.weight", "norm.bias"}),
        ("none", set()),
    ],
)
def test_policy_says_what_is_not_decayed_and_rules_overrule_it(policy, not_decayed):
    found = rate_of(Optimizer(no_decay=policy, weight_decay=0.3))
    for name in ("norm.weight", "norm.bias", "mix.weight", "mix.bias"):
        expected = 0.0 if name in not_decayed else 0.3
        assert found[f"backbone.floors.2.{name}"].weight_decay == expected
    assert found["backbone.floors.2.table"].weight_decay == 0  # by rule
    assert found["backbone.patches.bias"].weight_decay == 0.3  # by rule
    of_norms = 0.3 if policy == "none" else 0.0
    assert found["backbone.roof.1.weight"].weight_decay == of_norms
    assert found["head.1.bias"].weight_decay == of_norms


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_groups_hold_every_parameter_once_and_start_at_their_rate(name):
    detector = Detector()
    settings = Optimizer(name=name, multiplier=2, layer_decay=0.8)
    optimizer = build_optimizer(detector, settings, lr=1e-3)
    held = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    assert set(held.values()) == {1}
    assert set(held) == {id(p) for p in detector.parameters() if p.requires_grad}
    assert len(optimizer.param_groups) > 4
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(1e-3 * group["factor"])


def test_set_lr_keeps_the_factors():
    optimizer = build_optimizer(Detector(), Optimizer(multiplier=2), lr=1e-3)
    set_lr(optimizer, 0.5)
    lrs = {group["factor"]: group["lr"] for group in optimizer.param_groups}
    assert lrs == {0.5: 0.25, 1: 0.5, 2: 1.0}


def test_adamw_settings_come_from_the_recipe():
    settings = Optimizer(betas=(0.8, 0.95), eps=1e-6)
    (optimizer,) = {build_optimizer(Detector(), settings, lr=1.0)}
    for group in optimizer.param_groups:
        assert group["betas"] == (0.8, 0.95)
        assert group["eps"] == 1e-6


def test_table_has_every_optimizer_that_a_recipe_may_name():
    assert OPTIMIZERS.keys() == OPTIMIZER_OPTIONS.keys()
    assert len(OPTIMIZERS) >= 2


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_table_says_how_many_numbers_an_optimizer_keeps_per_parameter(name):
    detector = Detector()
    optimizer = build_optimizer(detector, Optimizer(name=name), lr=0.1)
    weight = detector.get_parameter("head.0.weight")
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    kept = [value for value in optimizer.state[weight].values() if value.shape == weight.shape]
    assert len(kept) == OPTIMIZERS[name].moments


def test_sgd_steps_by_hand_with_factor_momentum_and_l2_decay():
    detector = Detector()
    settings = Optimizer(name="sgd", momentum=0.5, multiplier=2, weight_decay=0.1, no_decay="none")
    optimizer = build_optimizer(detector, settings, lr=0.01)
    weight = detector.get_parameter("head.0.weight")
    expected, update = weight.detach().clone(), torch.zeros_like(weight)
    for scale in (1.0, -3.0, 0.2):
        weight.grad = torch.full_like(weight, scale)
        optimizer.step()
        update = 0.5 * update + scale + 0.1 * expected
        expected -= 0.01 * 2 * update
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=1e-7)  # rounding


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizer_leaves_alone_what_has_no_gradient_and_takes_a_first_one_late(name):
    detector = Detector()
    optimizer = build_optimizer(detector, Optimizer(name=name), lr=0.1)
    early, late = (detector.get_parameter(f"head.0.{kind}") for kind in ("weight", "bias"))
    before = late.detach().clone()
    early.grad = torch.ones_like(early)
    optimizer.step()
    assert torch.equal(late, before)
    assert late not in optimizer.state
    late.grad = torch.ones_like(late)
    optimizer.step()
    assert not torch.equal(late, before)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_step_that_the_loss_scale_skips_does_not_reach_the_next_ones(name):
    ends = []
    for skipped in (False, True):
        weight = nn.Parameter(torch.ones(3))
        groups = [{"params": [("w", weight)], "lr": 0.1, "weight_decay": 0.0}]
        optimizer = OPTIMIZERS[name].build(groups, Optimizer(name=name))
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for gradient in ([float("inf")] if skipped else []) + [1.0, 2.0]:
            scaler.scale((weight * gradient).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        ends.append(weight.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize("depth", [2, 5])
def test_mimdet_of_any_depth_has_its_encoder_below_and_its_decoder_above_the_rate(tiny, depth):
    overrides = [f"backbone.depth={depth}", "optimizer.multiplier=2", "head.norm=ln"]
    recipe = completed(tiny, *overrides)
    found = {r.name: r for r in rates(detector_of(recipe), recipe.optimizer)}
    for i in range(depth):
        assert found[f"backbone.encoder.blocks.{i}.attn.qkv.weight"].factor == 0.5
    assert found["backbone.encoder.norm.weight"].factor == 0.5
    assert found["backbone.stem.to_tokens.weight"].factor == 1
    assert found["backbone.decoder.blocks.0.mlp.fc1.weight"].factor == 2
    assert found["backbone.fpn.output.3.conv.weight"].factor == 2
    assert found["rpn.objectness.weight"].factor == 2
    assert "backbone.encoder.pos_embed" not in found
    one_dim = [r for r in found.values() if r.name.endswith(".bias") or ".norm" in r.name]
    assert len(one_dim) > 20
    assert {r.weight_decay for r in one_dim} == {0.0}
