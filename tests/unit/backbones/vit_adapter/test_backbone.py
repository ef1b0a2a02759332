"""The ViT-Adapter backbone: its promises, its sizes, its options, its checkpoints."""

from functools import cache
from typing import Any, get_args

import pytest
import torch
from detectors import MMDET_HEAD, NARROW_HEAD, detector_on
from pydantic import ValidationError
from torch import Tensor, nn
from torch.testing import assert_close

from backbones.key_maps.rename import KeyMap, rename
from backbones.layers.fpn import FPN
from backbones.vit_adapter import ViTAdapter, ViTAdapterOptions
from heads.key_maps import HEADS
from mimdet_cli.engine.optim import rates
from mimdet_cli.recipe.schema import Optimizer

TINY: dict[str, Any] = {
    "width": 24, "depth": 4, "heads": 2, "window": 3, "global_blocks": (1, 3), "grid": 4,
    "conv_width": 4, "drop_path": 0.0, "interactions": 2, "deform_heads": 2, "points": 2,
    "channels": 8,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "tiny": {"width": 192, "heads": 3},
    "small": {},
    "base": {"width": 768, "heads": 12, "deform_heads": 12, "deform_ratio": 0.5},
    "large": {
        "width": 1024, "depth": 24, "heads": 16, "deform_heads": 16, "deform_ratio": 0.5, "grid": 24
    },
}  # fmt: skip


def tiny(**options: Any) -> ViTAdapter:
    torch.manual_seed(0)
    return ViTAdapter(ViTAdapterOptions(**{**TINY, **options}))


def images(height: int = 64, width: int = 96) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def run(backbone: ViTAdapter, batch: Tensor) -> dict[str, Tensor]:
    return backbone(batch, torch.tensor([batch.shape[-2:]] * len(batch)))


def wake(module: nn.Module) -> None:
    """Give the injectors' factors, which start at 0, a value."""
    for name, parameter in module.named_parameters():
        if name.endswith("injector.gamma"):
            nn.init.ones_(parameter)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (33, 95), (70, 40), (240, 272)])
@pytest.mark.parametrize("options", [{}, {"parts": "spm"}, {"interactions": 0}])
def test_maps_have_the_promised_sizes_for_images_of_any_size(height, width, options):
    backbone = tiny(**options).eval()
    maps = run(backbone, images(height, width))
    assert list(maps) == [level.name for level in backbone.levels]
    for level in backbone.levels:
        expected = (2, level.channels, -(-height // level.stride), -(-width // level.stride))
        assert tuple(maps[level.name].shape) == expected


def test_a_size_that_does_not_divide_by_32_is_filled_with_zeros():
    backbone = tiny().eval()
    batch = images(40, 72)
    filled = nn.functional.pad(batch, (0, 24, 0, 24))
    whole, cut = backbone.features(filled), backbone.features(batch)
    for big, small in zip(whole, cut, strict=True):
        assert torch.equal(big[..., : small.shape[2], : small.shape[3]], small)


GRADIENTS = [
    {},
    {"parts": "spm"},
    {"parts": "injector"},
    {"interactions": 0},
    {"attention": "global"},
    {"attention": "cswin"},
    {"attention": "pale"},
    {"neck": "conv", "layer_scale": None, "cffn_ratio": 0.0, "extra_extractors": 0},
]


@pytest.mark.parametrize("options", GRADIENTS)
def test_gradients_reach_every_parameter(options):
    backbone = tiny(**options)
    wake(backbone)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:  # deformable attention starts with two matrices of zeros
            nn.init.normal_(parameter, std=0.3)
    maps = run(backbone, images()).values()
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    named = dict(backbone.named_parameters())
    assert len(named) > 60
    assert [name for name, p in named.items() if p.grad is None or not p.grad.any()] == []


@cache
def parameters(size: str, **options: Any) -> tuple[int, int]:
    """Parameters of the backbone without its pyramid, and of the detector in mmdetection's form."""
    with torch.device("meta"):
        backbone = ViTAdapter(ViTAdapterOptions(**{**PUBLISHED[size], **options}))
        detector = detector_on(backbone, 80, MMDET_HEAD)
    total, neck = (sum(p.numel() for p in m.parameters()) for m in (detector, backbone.neck))
    return sum(p.numel() for p in backbone.parameters()) - neck, total


@pytest.mark.parametrize(
    ("size", "options", "measured", "paper"),
    [
        ("tiny", {}, 28_068_512, 28.1),
        ("small", {}, 47_802_368, 47.8),
        ("base", {}, 120_187_088, 120.2),
        ("large", {}, 347_927_472, 347.9),
        ("tiny", {"interactions": 0}, 26_075_184, 26.1),
        ("base", {"interactions": 0}, 113_594_352, 113.6),
        ("large", {"interactions": 0}, 337_286_896, 337.3),
        ("small", {"interactions": 0}, 43_746_672, 43.8),  # Table 6 from here
        ("small", {"parts": "spm"}, 45_054_128, 45.1),
        ("small", {"parts": "injector"}, 46_578_320, 46.6),
        ("small", {"interactions": 1}, 45_457_472, 45.5),
        ("small", {"interactions": 2}, 46_239_104, 46.2),
        ("small", {"interactions": 3}, 47_020_736, None),
        ("small", {"interactions": 6}, 49_365_632, 49.4),
        ("small", {"interactions": 12}, 54_055_424, None),
        ("small", {"attention": "global"}, 50_260_208, 50.3),  # Table 7 from here
        ("small", {"attention": "cswin"}, 50_260_208, 50.3),
        ("small", {"attention": "pale"}, 50_260_208, 50.3),
        ("small", {"layer_scale": None}, 47_793_152, None),
        ("small", {"extra_extractors": 0}, 47_000_624, None),
        ("small", {"cffn_ratio": 0.0}, 47_346_752, None),
        ("small", {"neck": "conv"}, 45_442_048, None),
    ],
)
def test_parameters_are_those_measured_on_the_released_code_and_those_of_the_paper(
    size, options, measured, paper
):
    total = parameters(size, **options)[1]
    assert total == measured
    # The paper rounds the baseline's 43.747 up.
    assert paper is None or abs(total / 1e6 - paper) < 0.055


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 7.967), ("small", 27.504), ("base", 99.495), ("large", 326.974)]
)
def test_backbone_without_pyramid_has_the_released_size(size, millions):
    assert round(parameters(size)[0] / 1e6, 3) == millions


CHANGES: dict[str, list[Any]] = {
    "width": [48],
    "depth": [8],
    "heads": [4],
    "window": [2],
    "global_blocks": [None, (), (0, 1)],
    "global_window": [2],
    "encoder": ["beit", "uni_perceiver"],
    "layer_scale": [None, 0.5],
    "grid": [8],
    "conv_width": [8],
    "parts": ["spm", "injector"],
    "interactions": [0, 1, 4],
    "interaction_ends": [(0, 3)],
    "extra_extractors": [0],
    "attention": ["global", "cswin", "pale"],
    "deform_heads": [4],
    "deform_ratio": [0.5],
    "points": [3],
    "cffn_ratio": [0.0, 0.5],
    "add_vit_feature": [False],
    "neck": ["conv"],
    "channels": [16],
    "fpn_norm": ["bn", "syncbn", "ln", "gn"],
}
SAME_OUTPUT = {"norm", "decay_exceptions", "checkpoint_activations", "drop_path"}
"""Options that only affect training, each with a separate test."""


def footprint(options: dict[str, Any]) -> list[Tensor]:
    """Maps of a backbone whose parameters follow a pattern; in training, for fresh batch norms."""
    backbone = tiny(**options)
    maps = [x.detach() for x in run(backbone, images()).values()]
    return [torch.tensor(sum(p.numel() for p in backbone.parameters())), *maps]


def test_every_option_is_tried_with_every_value_it_enumerates():
    assert set(CHANGES) | SAME_OUTPUT == set(ViTAdapterOptions.model_fields)
    for key in ("encoder", "parts", "attention", "neck", "fpn_norm"):
        field = ViTAdapterOptions.model_fields[key]
        assert {*CHANGES[key], field.default} == set(get_args(field.annotation)), key


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in CHANGES.items() for value in values]
)
def test_every_option_changes_the_maps_or_the_parameters(key, value, monkeypatch):
    monkeypatch.setitem(TINY, "width", 24 if key != "deform_heads" else 48)
    monkeypatch.setitem(TINY, "global_window", 3 if key == "encoder" else None)
    before, after = footprint({}), footprint({key: value})
    assert any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(before, after, strict=True)
    )


def test_injectors_start_without_effect_and_change_the_maps_once_they_have_one():
    backbone = tiny().eval()
    plain = backbone.features(images())
    wake(backbone)
    awake = backbone.features(images())
    assert not any(torch.allclose(a, b) for a, b in zip(plain, awake, strict=True))


def test_synchronised_norms_have_the_same_parameters():
    backbone = tiny(norm="syncbn")
    kinds = [type(m) for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert kinds == [nn.SyncBatchNorm] * 10
    backbone.load_state_dict(tiny().state_dict())


def test_recomputing_changes_neither_maps_nor_gradients():
    found = []
    for recompute in (False, True):
        backbone = tiny(checkpoint_activations=recompute, drop_path=0.3)
        wake(backbone)
        torch.manual_seed(2)
        loss = sum(x.square().mean() for x in run(backbone, images()).values())
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in backbone.parameters())])
    for plain, again in zip(*found, strict=True):
        assert_close(plain, again)


def test_stochastic_depth_rises_over_the_blocks_and_is_constant_over_the_extractors():
    backbone = tiny(drop_path=0.3)
    assert [b.drop_path.drop_prob for b in backbone.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    extractors = [e for i in backbone.interactions for e in i.extractors]
    assert [e.drop_path.drop_prob for e in extractors] == [0.3] * 4


def test_every_layer_norm_has_the_floor_of_the_released_code():
    norms = [m for m in tiny().modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 * 4 + 2 * 2 + 3 * 4
    assert {norm.eps for norm in norms} == {1e-6}


def test_released_decay_rules_or_the_optimizers_apply():
    decays = []
    for exceptions in (True, False):
        detector = detector_on(tiny(decay_exceptions=exceptions))
        found = rates(detector, Optimizer(weight_decay=0.1, no_decay="one_dim"))
        decays.append({rate.name: rate.weight_decay for rate in found})
    assert decays[0]["backbone.pos_embed"] == 0 < decays[1]["backbone.pos_embed"]
    assert decays[1]["backbone.blocks.0.ls1.gamma"] == 0 < decays[0]["backbone.blocks.0.ls1.gamma"]


def test_depth_rises_from_patches_to_the_adapter():
    backbone = tiny()
    depths = {name: backbone.depth_of(name) for name, _ in backbone.named_parameters()}
    assert depths["patch_embed.proj.weight"] == depths["pos_embed"] == 0
    assert depths["blocks.0.norm1.weight"] == 1
    assert depths["blocks.3.mlp.fc2.bias"] == 4
    assert depths["spm.fc1.bias"] == depths["interactions.0.injector.gamma"] == backbone.depth == 5
    assert depths["neck.lateral.0.conv.weight"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interactions": 3}, "does not divide the depth 4: use one of 0, 1, 2, 4"),
        ({"interaction_ends": (3,)}, "lists 1 blocks for 2 'backbone.interactions'"),
        ({"interaction_ends": (1, 2)}, "must rise, and end with the last block, 3"),
        ({"interaction_ends": (3, 1)}, "must rise"),
        ({"heads": 5}, "'backbone.width' 24 is not divisible by 'backbone.heads' 5"),
        ({"deform_ratio": 0.3}, "is not divisible by 'backbone.deform_heads' 2"),
        ({"deform_heads": 3, "attention": "pale"}, "'backbone.deform_heads' 3 is odd"),
        ({"global_blocks": (4,)}, "the last one of a depth of 4 is 3"),
        ({"encoder": "beit"}, "set 'backbone.global_window' \\(56 in the paper\\)"),
        ({"neck": "conv", "fpn_norm": "bn"}, "set 'backbone.fpn_norm' to none"),
        ({"attention": "sparse"}, "Input should be"),
        ({"interactions": -1}, "greater than or equal to 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused_with_the_way_out(options, message):
    with pytest.raises(ValidationError, match=message):
        tiny(**options)


def plain_vit(grid: int, *, decoder: bool) -> dict[str, Tensor]:
    """A classifier in timm's layout, or a MAE encoder with a piece of the decoder."""
    own = tiny().state_dict()
    kept = {k: v for k, v in own.items() if k.startswith(("patch_embed.", "blocks."))}
    state = {k: torch.randn_like(v) for k, v in kept.items() if ".ls" not in k}
    state |= {"pos_embed": torch.randn(1, 1 + grid**2, 24), "cls_token": torch.randn(1, 1, 24)}
    rest = ["mask_token", "decoder_pred.weight"] if decoder else ["head.weight", "head.bias"]
    return state | {key: torch.randn(3) for key in ("norm.weight", "norm.bias", *rest)}


@pytest.mark.parametrize(("name", "decoder"), [("timm_vit", False), ("mae_encoder", True)])
def test_a_plain_vit_fills_all_but_the_adapter(name, decoder):
    backbone = tiny()
    key_map = backbone.key_maps[name]
    renamed = rename(plain_vit(7, decoder=decoder), key_map)
    assert renamed.unknown == ()
    for key, parameter in backbone.state_dict().items():
        promised = backbone.is_pretrained(key) and not key_map.is_fresh(key)
        assert (key in renamed.kept) == promised, key
        if key in renamed.kept and key != "pos_embed":
            assert renamed.kept[key].shape == parameter.shape
    table = key_map.resizer("pos_embed")(renamed.kept["pos_embed"], backbone.pos_embed.shape)
    assert table.shape == backbone.pos_embed.shape


def released(norm: bool) -> list[str]:
    """Keys of neck and head in mmdetection's files, from its naming rules."""
    pair = ("weight", "bias")
    convs = [f"neck.{kind}.{i}" for kind in ("lateral_convs", "fpn_convs") for i in range(4)]
    convs += [f"roi_head.mask_head.convs.{i}" for i in range(4)]
    plain = [f"roi_head.mask_head.{name}" for name in ("upsample", "conv_logits")]
    plain += [f"roi_head.bbox_head.{name}" for name in ("fc_cls", "fc_reg", "shared_fcs.0")]
    plain += ["rpn_head.rpn_cls", "rpn_head.rpn_reg"]
    if norm:
        convs += [f"roi_head.bbox_head.shared_convs.{i}" for i in range(4)]
        plain += ["rpn_head.rpn_conv.0.conv", "rpn_head.rpn_conv.1.conv"]
        leaves = ("conv.weight", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
        leaves += ("bn.weight", "bn.bias")
    else:
        plain += ["rpn_head.rpn_conv", "roi_head.bbox_head.shared_fcs.1"]
        leaves = ("conv.weight", "conv.bias")
    keys = [f"{conv}.{leaf}" for conv in convs for leaf in leaves]
    return keys + [f"{name}.{leaf}" for name in plain for leaf in pair]


@pytest.mark.parametrize("norm", [False, True])
def test_every_key_of_a_released_neck_and_head_becomes_one_of_ours_and_none_is_left(norm):
    backbone = tiny(fpn_norm="bn" if norm else "none")
    narrow = {"channels": 8, "fc_channels": 8}
    head = NARROW_HEAD if norm else MMDET_HEAD.model_copy(update=narrow)
    detector = detector_on(backbone, 3, head)
    rules = {**backbone.key_maps["vit_adapter_release"].rules, **HEADS["mmdet"]}
    renamed = rename(dict.fromkeys(released(norm), torch.zeros(0)), KeyMap(rules))
    expected = {
        key
        for key in detector.state_dict()
        if key.startswith(("backbone.neck.", "rpn.", "roi_heads."))
    }
    assert renamed.unknown == ()
    assert set(renamed.kept) == expected


def test_pyramid_starts_from_mmdetections_values():
    torch.manual_seed(0)
    neck = ViTAdapter(ViTAdapterOptions(width=96, depth=4, channels=256)).neck
    assert isinstance(neck, FPN)
    for conv, fans in ((neck.lateral[0].conv, 96 + 256), (neck.output[0].conv, 9 * 512)):
        limit = (6 / fans) ** 0.5
        assert 0.95 * limit < conv.weight.abs().max() <= limit
        assert not conv.bias.any()
