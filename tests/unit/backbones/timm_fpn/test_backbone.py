"""timm's models under an FPN: sizes, any image size, faithful weights, depth, freezing, names."""

from functools import cache

import numpy as np
import pytest
import timm
import torch
from detectors import MMDET_HEAD, detector_on
from safetensors.torch import save_file
from torch import nn

from backbones.options.timm_fpn import FREE_WIDTH, LABELS, all_models, family_of, models_in
from backbones.timm_fpn import TimmFPN, TimmFPNOptions
from backbones.timm_fpn.any_size import ShiftedWindowBlock, pooled_maps
from backbones.timm_fpn.backbone import FAMILIES
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.engine.optim import rates
from mimdet_cli.errors import RecipeError, WeightsError
from mimdet_cli.recipe.load import check_options
from mimdet_cli.recipe.schema import Optimizer
from mimdet_cli.weights.load import load_weights

SWIN = "swin_tiny_patch4_window7_224"
TINY = (SWIN, "convnext_atto", "pvt_v2_b0", "resnet18", "mvitv2_tiny")


def tiny(model: str, **options) -> TimmFPN:
    torch.manual_seed(0)
    return TimmFPN(TimmFPNOptions(**{"model": model, "drop_path": 0.0, "channels": 8, **options}))


@cache
def ready(model: str) -> TimmFPN:
    """A shaken backbone in evaluation, shared by the tests that only look at it."""
    return shaken(tiny(model)).eval()


def images(height: int, width: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, height, width, generator=generator)


def run(backbone: TimmFPN, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return backbone(batch, torch.tensor([batch.shape[-2:]] * len(batch)))


def shaken(module: nn.Module) -> nn.Module:
    """The module with every weight and statistic moved, so that no zero or one hides a fault."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.02 * torch.rand(tensor.shape, generator=generator))
    return module


def stage_maps(backbone: TimmFPN, batch: torch.Tensor) -> list[torch.Tensor]:
    """What enters the output norms in a forward pass."""
    seen: list[torch.Tensor] = []
    for norm in backbone.out_norms:
        norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run(backbone, batch)
    return seen


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for fp32 sums in another order, through tens of layers."""
    atol = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=atol)


def detector(backbone: TimmFPN) -> MaskRCNN:
    return detector_on(backbone, 80, MMDET_HEAD)


def test_a_tiny_model_stands_for_every_family():
    assert {family_of(model) for model in TINY} == set(FAMILIES)


@pytest.mark.parametrize(
    ("model", "parameters", "published"),
    [
        (SWIN, 47_794_602, 47.8),
        ("swin_base_patch4_window7_224", 107_141_800, 107.1),
        ("convnext_tiny", 48_095_376, 48.1),
        ("pvt_v2_b1", 33_663_408, 33.7),
        ("pvt_v2_b2", 45_017_264, 45.0),
        ("pvt_v2_b5", 101_610_416, 101.6),
    ],
)
def test_mask_rcnn_has_the_published_parameters(model, parameters, published):
    with torch.device("meta"):
        found = sum(p.numel() for p in detector(TimmFPN(TimmFPNOptions(model=model))).parameters())
    assert found == parameters
    assert round(found / 1e6, 1) == published  # ViT-Adapter, Table 1


@pytest.mark.parametrize("model", TINY)
def test_levels_are_what_was_promised_at_any_multiple_of_32(model):
    backbone = ready(model)
    assert [(level.name, level.stride) for level in backbone.levels] == [
        ("p2", 4), ("p3", 8), ("p4", 16), ("p5", 32)
    ]  # fmt: skip
    for height, width in ((96, 160), (32, 64)):
        with torch.no_grad():
            maps = run(backbone, images(height, width))
        for level in backbone.levels:
            expected = (1, level.channels, height // level.stride, width // level.stride)
            assert tuple(maps[level.name].shape) == expected


@pytest.mark.parametrize("model", TINY)
def test_gradients_reach_every_trainable_parameter(model):
    backbone = shaken(tiny(model, drop_path=0.1))
    run(backbone.train(), images(64, 96))
    backbone.eval()  # without stochastic depth, which leaves whole blocks out of a small batch
    sum(x.square().sum() for x in run(backbone, images(64, 96)).values()).backward()
    trainable = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert len(trainable) > 60
    assert [name for name, p in trainable.items() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("model", TINY)
def test_an_image_does_not_depend_on_its_batch_in_evaluation(model):
    batch = images(64, 96, count=2)
    with torch.no_grad():
        together, alone = run(ready(model), batch), run(ready(model), batch[1:])
    for name in alone:
        close(together[name][1:], alone[name])


def features_of(full: nn.Module, model: str) -> nn.Module:
    """timm's own feature extractor with the weights of `full`."""
    settings = FAMILIES[family_of(model)].settings
    features = timm.create_model(model, pretrained=False, features_only=True, **settings)
    flat = {key.replace("layers.", "layers_").replace("stages.", "stages_"): value
            for key, value in full.state_dict().items()}  # fmt: skip
    flat |= {key.replace("stem.", "stem_"): value for key, value in flat.items()}
    flat |= {f"model.{key}": value for key, value in full.state_dict().items()}
    features.load_state_dict({key: flat.get(key) for key in features.state_dict()})
    return features


@pytest.mark.parametrize("model", TINY)
def test_timm_weights_load_whole_and_give_timms_own_features(model, tmp_path):
    torch.manual_seed(3)
    full = shaken(
        timm.create_model(model, pretrained=False, **FAMILIES[family_of(model)].settings)
    ).eval()
    save_file(full.state_dict(), tmp_path / "model.safetensors")
    ours = detector(tiny(model))
    backbone = ours.get_submodule("backbone")
    report = load_weights(
        ours, backbone.key_maps["timm"], tmp_path / "model.safetensors", "timm", 0.0
    )
    assert report.share == 1.0
    assert report.missing == ()
    assert set(report.dropped.values()) == {"classifier"}
    assert all(key.startswith(("out_norms.", "fpn.")) for key in report.fresh)
    side = 224 if model in (SWIN, "mvitv2_tiny") else 96  # where timm's need not be resized
    with torch.no_grad():
        expected = features_of(full, model).eval()(images(side, side))[-4:]
        found = stage_maps(backbone.eval(), images(side, side))
    assert len(found) == 4
    for ours_, theirs in zip(found, expected, strict=True):
        close(
            ours_, theirs.movedim(-1, 1) if model == SWIN else theirs
        )  # timm's Swin: (B, h, w, C)


def test_weights_of_another_model_are_refused(tmp_path):
    save_file(
        timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "r.safetensors"
    )
    ours = detector(tiny("pvt_v2_b0"))
    key_map = ours.get_submodule("backbone").key_maps["timm"]
    with pytest.raises(WeightsError, match="keys of the file have no place"):
        load_weights(ours, key_map, tmp_path / "r.safetensors", "timm", 0.0)


def resized(table: torch.Tensor, length: int) -> nn.Parameter:
    """Linear resizing with half-pixel centres, column by column, by NumPy."""
    old = len(table)
    at = (np.arange(length) + 0.5) * old / length - 0.5
    columns = [np.interp(at, np.arange(old), column) for column in table.detach().T.numpy()]
    return nn.Parameter(torch.from_numpy(np.stack(columns, 1)).float())


def test_mvitv2_equals_a_model_constructed_at_the_images_size():
    body = ready("mvitv2_tiny").body
    at_height = timm.create_model("mvitv2_tiny", num_classes=0, img_size=96).eval()
    at_width = timm.create_model("mvitv2_tiny", num_classes=0, img_size=160)
    own, wide = body.state_dict(), at_width.state_dict()
    tables = [name for name in own if "rel_pos" in name]
    assert len(tables) == 20
    for name in tables:
        length = len((wide if name.endswith("_w") else at_height.state_dict())[name])
        module, _, leaf = name.rpartition(".")
        setattr(at_height.get_submodule(module), leaf, resized(own[name], length))
    rest = {name: value for name, value in own.items() if name not in tables}
    at_height.load_state_dict({**at_height.state_dict(), **rest})
    with torch.no_grad():
        expected = at_height.forward_intermediates(images(96, 160), intermediates_only=True)
        found = pooled_maps(body, images(96, 160))
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_never_join_opposite_edges_of_a_map(shifted):
    block = ShiftedWindowBlock(ready(SWIN).body.layers[0].blocks[0], shifted)
    maps = torch.randn(1, 16, 18, 96, requires_grad=True)  # neither side is divisible by 7
    (gradient,) = torch.autograd.grad(block(maps)[0, 0, 0].sum(), maps)
    reached = gradient[0].abs().sum(-1) > 1e-20  # masked logits leave exp(-100) at most
    side = 3 if shifted else 7  # shifted windows begin 3 cells later
    assert reached[:side, :side].all()
    assert not reached[side:].any()
    assert not reached[:, side:].any()


@pytest.mark.parametrize("model", TINY)
def test_depth_rises_with_the_blocks_and_is_known_for_every_name(model):
    backbone = ready(model)
    body = [backbone.depth_of(name) for name, _ in backbone.named_parameters() if "body." in name]
    assert body == sorted(body)
    assert set(body) == set(range(backbone.depth))
    rest = [name for name, _ in backbone.named_parameters() if "body." not in name]
    assert {backbone.depth_of(name) for name in rest} == {backbone.depth}


def test_convnext_is_decayed_in_its_published_groups():
    backbone = tiny("convnext_tiny")
    third = [backbone.depth_of(f"body.stages.2.blocks.{i}.gamma") for i in range(9)]
    assert third == [3, 3, 3, 4, 4, 4, 5, 5, 5]
    others = [
        "body.stem.0.weight",
        "body.stages.0.blocks.2.gamma",
        "body.stages.1.downsample.1.weight",
        "body.stages.3.downsample.0.weight",
        "body.stages.3.blocks.0.gamma",
        "out_norms.0.weight",
    ]
    assert [backbone.depth_of(name) for name in others] == [0, 1, 2, 6, 6, 7]


@pytest.mark.parametrize("model", [SWIN, "mvitv2_tiny"])
def test_position_tables_and_norms_are_not_decayed(model):
    with torch.device("meta"):
        found = rates(detector(tiny(model)), Optimizer(no_decay="norms", weight_decay=0.05))
    free = {rate.name for rate in found if rate.weight_decay == 0}
    tables = {rate.name for rate in found if "relative_pos" in rate.name or "rel_pos" in rate.name}
    assert len(tables) in (12, 20)
    assert tables < free
    assert all("norm" in name for name in free - tables)
    assert "backbone.out_norms.3.bias" in free


def test_frozen_stages_keep_weights_and_statistics():
    backbone = tiny("resnet18", frozen_stages=1, frozen_bn=True).train()
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert len(frozen) == 3 + 12
    assert all(name.startswith(("body.conv1", "body.bn1", "body.layer1")) for name in frozen)
    assert backbone.body.layer3[0].bn1.weight.requires_grad
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    run(backbone, images(64, 96))
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


def test_batch_statistics_are_learned_unless_they_are_frozen():
    backbone = tiny("resnet18", frozen_stages=0).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    run(backbone, images(64, 96))
    same = {name for name, value in backbone.named_buffers() if torch.equal(value, before[name])}
    assert same == {f"body.bn1.{part}" for part in (
        "running_mean", "running_var", "num_batches_tracked"
    )}  # fmt: skip


def test_a_norm_in_the_pyramid_replaces_its_biases():
    names = {name for name, _ in tiny("resnet18", norm="gn").named_parameters()}
    assert "fpn.lateral.0.norm.weight" in names
    assert "fpn.lateral.0.conv.bias" not in names
    assert "fpn.lateral.0.conv.bias" in {n for n, _ in tiny("resnet18").named_parameters()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "swin_tiny_patch4_window7"},
            "'backbone.model' cannot be 'swin_tiny_patch4_window7': timm has no model of that "
            "name; the nearest are swin_tiny_patch4_window7_224",
        ),
        ({"model": "resnet50.a1_in1k"}, "the nearest are resnet50"),
        (
            {"model": "vit_base_patch16_224"},
            "supported families are Swin, ConvNeXt, PVTv2, ResNet, MViTv2",
        ),
        ({"model": "mvitv2_base_cls"}, "use one of mvitv2_base, mvitv2_large"),
        ({"model": "convnext_atto", "frozen_bn": True}, "'convnext_atto' has no batch norms"),
        ({"model": "resnet50_gn", "frozen_bn": True}, "'resnet50_gn' has no batch norms"),
    ],
)
def test_a_wrong_model_is_refused_by_name_before_anything_is_built(options, message):
    with pytest.raises(RecipeError) as caught:
        check_options(TimmFPNOptions, options, {})
    assert message in caught.value.what


def test_names_read_in_the_source_of_timm_are_those_that_it_lists():
    listed = timm.list_models()
    assert len(listed) > 1000
    assert list(all_models()) == listed
    assert {module: models_in(module) for module in FAMILIES} == {
        module: tuple(timm.list_models(module=module)) for module in FAMILIES
    }


def test_options_know_the_families_that_the_architecture_has():
    assert list(LABELS) == list(FAMILIES)
    assert {name for name, family in FAMILIES.items() if family.of_width} == FREE_WIDTH
