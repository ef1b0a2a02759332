"""The three published forms of the plain baseline: options, promises, published sizes."""

import pickle
from copy import deepcopy

import pytest
import torch
from detectors import MMDET_HEAD, detector_on
from pydantic import ValidationError
from timm.models.vision_transformer import VisionTransformer

from backbones.key_maps.rename import rename
from backbones.vit_fpn import Li2021, ViTBaseline, ViTDetBaseline, ViTFPN, ViTFPNOptions
from heads.options import HeadOptions
from mimdet_cli.engine.optim import rates
from mimdet_cli.recipe.schema import Optimizer

SMALL = {
    "width": 32, "depth": 4, "heads": 2, "window": 3, "global_blocks": (1, 3), "grid": 6,
    "norm": "gn",
}  # fmt: skip
FORMS = ("li2021", "vit", "conv")
SIZES = {
    "T": {"width": 192, "heads": 3, "grid": 14},
    "S": {"width": 384, "heads": 6, "grid": 14},
    "B": {"grid": 14},
    "L": {"width": 1024, "depth": 24, "heads": 16, "grid": 24},
}
PAPER = {  # ViT-Adapter, Table 1, in millions
    "vit": {"T": 26.1, "S": 43.8, "B": 113.6, "L": 337.3},
    "conv": {"T": 26.6, "S": 45.7, "B": 121.3, "L": 350.9},
}
MEASURED = {
    "vit": {"T": 26_075_184, "S": 43_746_672, "B": 113_594_352, "L": 337_286_896},
    "conv": {"T": 26_557_488, "S": 45_669_744, "B": 121_274_352, "L": 350_934_768},
}


def small(form, **options):
    torch.manual_seed(0)
    return ViTFPN(ViTFPNOptions(**{**SMALL, "drop_path": 0.0, "form": form, **options}))


def run(backbone, side=96):
    torch.manual_seed(1)
    return backbone(torch.randn(2, 3, side, side), torch.full((2, 2), side))


def wake(backbone):
    """Give every parameter that starts at zero, and so has no effect yet, a value."""
    torch.manual_seed(2)
    for parameter in backbone.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    return backbone.eval()


def parameters(options, head):
    with torch.device("meta"):
        model = detector_on(ViTFPN(options), 80, head)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("form", "kind"), [("li2021", Li2021), ("vit", ViTBaseline), ("conv", ViTDetBaseline)]
)
def test_options_choose_the_class_and_every_form_is_a_vit_fpn(form, kind):
    backbone = small(form)
    assert type(backbone) is kind
    assert isinstance(backbone, ViTFPN)
    assert issubclass(kind, ViTFPN)


def test_every_form_has_its_class():
    assert tuple(ViTFPN.forms) == FORMS


@pytest.mark.parametrize("base", [ViTFPN, ViTBaseline])
def test_a_subclass_makes_its_own_instances_and_leaves_the_forms_alone(base):
    before = dict(ViTFPN.forms)

    class Mine(base):
        pass

    mine = Mine(ViTFPNOptions(**SMALL, form="conv"))
    assert type(mine) is Mine
    assert not hasattr(mine, "convs")
    assert ViTFPN.forms == before


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_is_of_the_same_form_with_the_same_weights(form):
    backbone = small(form)
    for copied in (deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert type(copied) is type(backbone)
        assert copied.options == backbone.options
        found, expected = copied.state_dict(), backbone.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_li_2021_has_the_official_number_of_parameters():
    assert parameters(ViTFPNOptions(), HeadOptions()) == 118_674_184


@pytest.mark.parametrize("form", PAPER)
@pytest.mark.parametrize("size", SIZES)
def test_vit_adapters_baselines_have_the_published_sizes(form, size):
    options = ViTFPNOptions(form=form, window=14, norm="none", **SIZES[size])
    count = parameters(options, MMDET_HEAD)
    assert count == MEASURED[form][size]
    assert abs(count / 1e6 - PAPER[form][size]) < 0.06  # its ViT-S is 43.75, rounded up


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", ["ln", "bn", "syncbn", "gn", "none"])
def test_every_form_keeps_its_promise_of_levels_and_every_parameter_learns(form, norm):
    backbone = small(form, norm=norm, channels=16)
    if norm == "syncbn":
        backbone.eval()  # in training it needs a GPU
    maps = run(backbone)
    assert [level.name for level in backbone.levels] == list(maps)
    for level in backbone.levels:
        assert maps[level.name].shape == (2, 16, 96 // level.stride, 96 // level.stride)
    sum(x.square().sum() for x in maps.values()).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_the_forms_have_different_parameters_and_maps():
    models = [small(form) for form in FORMS]
    names = [frozenset(model.state_dict()) for model in models]
    assert len(set(names)) == 3
    maps = [run(wake(model))["p3"] for model in models]
    assert not torch.allclose(maps[0], maps[1], atol=1e-3)
    assert not torch.allclose(maps[1], maps[2], atol=1e-3)


def test_li_2021_pads_to_the_square_of_its_positions_and_the_others_to_a_multiple():
    assert small("li2021").padding.square == 96
    assert ViTFPN(ViTFPNOptions(depth=4)).padding.square == 1024
    assert small("vit").padding.square is None
    assert small("vit").padding.multiple == 32


@pytest.mark.parametrize("form", ["vit", "conv"])
def test_the_other_forms_take_any_multiple_of_32(form):
    maps = small(form)(torch.randn(1, 3, 64, 160), torch.tensor([[64, 160]]))
    assert maps["p5"].shape == (1, 256, 2, 5)


def test_li_2021_starts_from_sines_of_rows_then_of_columns():
    table = small("li2021").pos_embed.detach().reshape(6, 6, 32)
    rows, columns = table[..., :16], table[..., 16:]
    assert torch.equal(rows, rows[:, :1].expand(6, 6, 16))
    assert torch.equal(columns, columns[:1].expand(6, 6, 16))
    assert torch.equal(rows[2, 0, :8].asin(), rows[2, 3, :8].asin())
    assert rows[2, 0, 0] == pytest.approx(torch.tensor(2.0).sin().item())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", [{"window": 2}, {"global_blocks": (3,)}, {"norm": "ln"}])
def test_every_architectural_option_changes_the_maps(form, option):
    before, after = (run(wake(small(form, **extra)))["p4"] for extra in ({}, option))
    assert not torch.allclose(before, after, atol=1e-4)


def test_relative_tables_exist_for_the_kinds_of_blocks_there_are():
    tables = {"window_table", "global_table"}
    found = [
        tables & set(dict(small("li2021", global_blocks=chosen).named_parameters()))
        for chosen in ((1, 3), (), (0, 1, 2, 3))
    ]
    assert found == [tables, {"window_table"}, {"global_table"}]


def test_residual_convolutions_stand_after_the_chosen_blocks():
    assert list(small("conv").convs) == ["0", "1", "2", "3"]
    chosen = small("conv", conv_blocks=(1, 3))
    assert list(chosen.convs) == ["1", "3"]
    assert chosen.depth_of("convs.1.conv1.weight") == chosen.depth_of("blocks.1.norm1.bias") == 2
    assert not hasattr(small("vit"), "convs")


@pytest.mark.parametrize("form", FORMS)
def test_recomputed_activations_give_the_same_gradients(form):
    found = []
    for recompute in (False, True):
        backbone = small(form, checkpoint_activations=recompute, drop_path=0.2)
        torch.manual_seed(3)
        sum(x.square().mean() for x in run(backbone).values()).backward()
        found.append([p.grad for p in backbone.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_depth_counts_from_the_patches_through_the_blocks_to_the_pyramid(form):
    backbone = small(form)
    assert backbone.depth_of("patch_embed.proj.weight") == backbone.depth_of("pos_embed") == 0
    assert backbone.depth_of("blocks.3.attn.qkv.weight") == 4
    after = [name for name, _ in backbone.named_parameters() if backbone.depth_of(name) == 5]
    assert {name.split(".")[0] for name in after} >= {"scale", "fpn"}
    assert backbone.depth == 5


@pytest.mark.parametrize("form", ["vit", "conv"])
def test_a_classifier_of_timm_fills_the_vit_which_then_gives_its_tokens(form):
    classifier = VisionTransformer(img_size=96, embed_dim=32, depth=4, num_heads=2).eval()
    backbone = small(form, global_blocks=(0, 1, 2, 3)).eval()
    key_map = backbone.key_maps["timm_vit"]
    renamed = rename(classifier.state_dict(), key_map)
    assert not renamed.unknown
    assert {key.split(".")[0] for key in renamed.dropped} == {"cls_token", "norm", "head"}
    missing = set(backbone.state_dict()) - set(renamed.kept)
    assert all(key_map.is_fresh(key) for key in missing if backbone.is_pretrained(key))
    backbone.load_state_dict({**backbone.state_dict(), **renamed.kept})
    images = torch.randn(2, 3, 96, 96)
    tokens = classifier.patch_embed(images) + classifier.pos_embed[:, 1:]
    wanted = classifier.blocks(tokens)
    ours = backbone.tokens_of(images)[3].flatten(1, 2)
    assert torch.allclose(ours, wanted, atol=1e-4)  # four blocks of fp32 sums in another order


def decayed(model, policy):
    found = rates(model, Optimizer(weight_decay=0.05, no_decay=policy))
    return {rate.name.removeprefix("backbone."): rate.weight_decay > 0 for rate in found}


@pytest.mark.parametrize("form", ["vit", "conv"])
def test_the_small_baselines_spare_norms_biases_and_positions_but_not_layer_scale(form):
    model = detector_on(small(form, norm="none"), 3, MMDET_HEAD)
    found = decayed(model, "one_dim")
    assert not found["pos_embed"]
    assert not found["norms.0.weight"]
    assert not found["blocks.0.norm1.weight"]
    assert not any(kept for name, kept in found.items() if name.endswith(".bias"))
    assert found["blocks.0.ls1.gamma"]
    assert found["scale.up4.1.weight"]
    assert found["fpn.lateral.0.conv.weight"]
    if form == "conv":
        assert not found["convs.0.norm3.weight"]
        assert found["convs.0.conv2.weight"]


def test_without_exceptions_the_recipes_own_rule_decides():
    model = detector_on(small("vit", norm="none", decay_exceptions=False), 3, MMDET_HEAD)
    found = decayed(model, "one_dim")
    assert found["pos_embed"]
    assert not found["blocks.0.ls1.gamma"]
    assert not found["scale.up4.1.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "li2021", "window": 4}, "'backbone.window' 4 does not divide 'backbone.grid' 6"),
        ({"form": "vit", "conv_blocks": (1,)}, "'backbone.conv_blocks' does not apply"),
        ({"form": "conv", "conv_blocks": (4,)}, "'backbone.conv_blocks' names block 4"),
        ({"form": "vit", "global_blocks": (9,)}, "'backbone.global_blocks' names block 9"),
        ({"form": "vit", "heads": 5}, "'backbone.width' 32 is not divisible"),
        ({"form": "vitdet"}, "Input should be 'li2021', 'vit' or 'conv'"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(options, message):
    with pytest.raises(ValidationError, match=message):
        ViTFPNOptions(**{**SMALL, **options})
