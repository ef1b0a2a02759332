"""Loading is strict and accounts for every key, on a small MIMDet and MAE's key names."""

import json

import pytest
import torch
from detectors import SMALL_MIMDET, detector_on
from safetensors.torch import save_file

from backbones.contract import Backbone
from backbones.key_maps.rename import Drop, KeyMap, Stack
from backbones.mimdet import MIMDet, MIMDetOptions
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.load import load_weights

SMALL = {**SMALL_MIMDET, "decoder_layers": 2}
STORED_GRID = 6


def detector(**options) -> MaskRCNN:
    torch.manual_seed(0)
    return detector_on(MIMDet(MIMDetOptions(**{**SMALL, **options})))


def mae_tensors() -> dict[str, torch.Tensor]:
    """A MAE checkpoint for `SMALL`: 3 decoder blocks, a grid of 6, distinct values."""
    torch.manual_seed(1)
    model = detector(grid=STORED_GRID, decoder_layers=3, fill="mask").backbone
    tensors = {"cls_token": torch.randn(1, 1, 32), "mask_token": model.decoder.mask_token.detach()}
    for part in ("encoder", "decoder"):
        prefix = "" if part == "encoder" else "decoder_"
        for name, tensor in getattr(model, part).state_dict().items():
            if not name.startswith(("stem_proj", "mask_token")):
                tensors[prefix + name] = torch.randn_like(tensor)
    for name in ("patch_embed.proj.weight", "decoder_pred.weight", "decoder_pred.bias"):
        tensors[name] = torch.randn(3)
    return tensors


def load(model, tensors, tmp_path, allow_missing=0.0):
    save_file(tensors, tmp_path / "mae.safetensors")
    key_map = model.backbone.key_maps["mae"]
    return load_weights(model, key_map, tmp_path / "mae.safetensors", "mae", allow_missing)


def refusal(model, tensors, tmp_path, allow_missing=0.0) -> WeightsError:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load(model, tensors, tmp_path, allow_missing)
    for key, value in model.state_dict().items():
        assert torch.equal(before[key], value), "a refused file must leave the model as it was"
    assert caught.value.exit_code == 4
    return caught.value


@pytest.mark.parametrize("fill", ["stem", "mask"])
def test_report_accounts_for_every_key_of_file_and_model(tmp_path, fill):
    model, tensors = detector(fill=fill), mae_tensors()
    report = load(model, tensors, tmp_path)
    assert len(report.loaded) + len(report.dropped) == len(tensors)
    own = {key for key, t in model.backbone.state_dict().items() if t.is_floating_point()}
    assert set(report.loaded) | set(report.fresh) == own
    assert not set(report.loaded) & set(report.fresh)
    assert report.missing == ()
    assert set(report.resized) == {"encoder.pos_embed", "decoder.pos_embed"}
    assert report.share == 1
    assert set(report.dropped) == {
        "cls_token", "patch_embed.proj.weight", "decoder_pred.weight", "decoder_pred.bias",
        *(key for key in tensors if key.startswith("decoder_blocks.2.")),
        *(["mask_token"] if fill == "stem" else []),
    }  # fmt: skip


def test_loaded_values_are_those_of_the_file(tmp_path):
    model, tensors = detector(), mae_tensors()
    fresh = detector().state_dict()
    load(model, tensors, tmp_path)
    own = model.state_dict()
    for theirs, ours in (
        ("blocks.1.attn.qkv.weight", "encoder.blocks.1.attn.qkv.weight"),
        ("decoder_blocks.0.mlp.fc1.bias", "decoder.blocks.0.mlp.fc1.bias"),
        ("decoder_embed.weight", "decoder.embed.weight"),
    ):
        assert torch.equal(own[f"backbone.{ours}"], tensors[theirs])
    assert torch.equal(own["backbone.encoder.pos_embed"][:, 0], tensors["pos_embed"][:, 0])
    untouched = [key for key in own if key.startswith(("rpn.", "roi_heads.", "backbone.stem."))]
    assert len(untouched) > 20
    assert all(torch.equal(own[key], fresh[key]) for key in untouched)


def test_report_is_written_in_three_lines_and_as_json(tmp_path):
    report = load(detector(), mae_tensors(), tmp_path)
    first, second, third = report.lines()
    assert first.startswith("weights: mae.safetensors (mae): 100.0 % of the ")
    assert first.endswith(f"{len(report.loaded)} tensors, 2 resized")
    assert second == "  fresh as expected: stem (14), decoder.stem_proj.weight, " + (
        "decoder.stem_proj.bias, fpn (24)"
    )
    assert third.startswith(f"  left in the file: {len(report.dropped)} tensors (a detector has")
    record = json.loads(json.dumps(report.to_json()))
    assert record["share"] == 1
    assert record["dropped"]["cls_token"] == "a detector has no class token"


def test_encoder_without_decoder_is_not_enough(tmp_path):
    tensors = {key: t for key, t in mae_tensors().items() if not key.startswith("decoder_")}
    error = refusal(detector(), tensors, tmp_path)
    assert error.what.startswith("the file holds only ")
    assert "missing: decoder.pos_embed" in error.what
    assert "more." in error.what
    assert "--set init.allow_missing=0." in error.fix


def test_advised_share_of_missing_parameters_is_enough(tmp_path):
    tensors = {key: t for key, t in mae_tensors().items() if not key.startswith("decoder_")}
    error = refusal(detector(), tensors, tmp_path)
    advised = float(error.fix.rpartition("=")[2].rstrip(".`"))
    report = load(detector(), tensors, tmp_path, advised)
    assert 1 - advised - 0.01 < report.share <= 1 - advised + 0.01
    assert "decoder.norm.weight" in report.missing
    refusal(detector(), tensors, tmp_path, advised - 0.02)


def test_one_missing_bias_is_noticed(tmp_path):
    tensors = mae_tensors()
    del tensors["blocks.1.attn.qkv.bias"]
    assert "missing: encoder.blocks.1.attn.qkv.bias." in refusal(detector(), tensors, tmp_path).what


def with_map(key_map, tmp_path, model=None, allow_missing=0.0):
    """Load the MAE checkpoint by a map that is not the backbone's."""
    save_file(mae_tensors(), tmp_path / "mae.safetensors")
    return load_weights(
        model or detector(), key_map, tmp_path / "mae.safetensors", "x", allow_missing
    )


@pytest.mark.parametrize("fresh", [(), ("fpn.{rest}",), ("{rest}",)])
@pytest.mark.parametrize("allow_missing", [0.0, 0.5, 1.0])
def test_map_that_loads_nothing_never_meets_the_promise(tmp_path, fresh, allow_missing):
    """Neither by calling all of ours fresh, nor by a setting of the recipe."""
    nothing = KeyMap({"{rest}": Drop("no reason")}, fresh=fresh)
    model = detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        with_map(nothing, tmp_path, model, allow_missing)
    assert caught.value.exit_code == 4
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if fresh == ("{rest}",):
        assert caught.value.what == "the backbone declares no parameter that 'x' files could fill."
    else:
        assert caught.value.what.startswith(
            "the file holds only 0.0 % of the parameters that 'x' files"
        )
        assert "allow_missing" not in caught.value.fix  # no leave that would help is offered


def test_map_without_rules_is_refused_for_every_key(tmp_path):
    with pytest.raises(WeightsError, match=f"{len(mae_tensors())} keys of the file have no place"):
        with_map(KeyMap({}), tmp_path, allow_missing=1.0)


def test_the_promise_is_the_backbones_not_the_maps(tmp_path):
    """A map that forgets the decoder promises as much as one that does not, and is refused."""
    model = detector()
    own = model.backbone.state_dict()
    declared = sum(x.numel() for key, x in own.items() if model.backbone.is_pretrained(key))
    fresh = sum(own[f"decoder.stem_proj.{leaf}"].numel() for leaf in ("weight", "bias"))
    assert load(model, mae_tensors(), tmp_path).promised_parameters == declared - fresh
    whole = model.backbone.key_maps["mae"]
    forgetful = {"decoder_{rest}": Drop("forgotten"), **whole.rules}
    with pytest.raises(WeightsError, match=r"missing: decoder\.pos_embed"):
        with_map(KeyMap(forgetful, whole.fresh, whole.resize), tmp_path)


def test_backbone_that_declares_nothing_learns_how_to(tmp_path):
    class Silent(MIMDet):
        def is_pretrained(self, name: str) -> bool:
            return False

    model = detector()
    model.backbone = Silent(model.backbone.options)
    error = refusal(model, mae_tensors(), tmp_path)
    assert error.what == "the backbone declares no parameter that 'mae' files could fill."
    assert "`is_pretrained`" in error.fix


def test_by_default_pretrained_is_what_learns_at_that_rate():
    class Plugin(MIMDet):
        is_pretrained = Backbone.is_pretrained

    plugin = Plugin(MIMDetOptions(**SMALL))
    names = [name for name, _ in plugin.named_parameters() if plugin.is_pretrained(name)]
    assert len(names) > 20
    assert {name.partition(".")[0] for name in names} == {"encoder"}


@pytest.mark.parametrize("decoder", [True, False])
def test_encoder_alone_leaves_the_decoder_fresh_and_says_so(tmp_path, decoder):
    kept = ("mask_token", "decoder_") if not decoder else ("-",)
    tensors = {key: x for key, x in mae_tensors().items() if not key.startswith(kept)}
    save_file(tensors, tmp_path / "mae.safetensors")
    model, untouched = detector(), detector().backbone.decoder.state_dict()
    key_map = model.backbone.key_maps["mae_encoder"]
    report = load_weights(model, key_map, tmp_path / "mae.safetensors", "mae_encoder", 0.0)
    assert report.share == 1
    assert {key.partition(".")[0] for key in report.loaded} == {"encoder"}
    first, second, third = report.lines()
    assert "(mae_encoder): 100.0 % of the " in first
    assert second == "  fresh as expected: stem (14), decoder (31), fpn (24)"
    assert ("the decoder starts from random weights" in third) == decoder
    for key, value in model.backbone.decoder.state_dict().items():
        assert torch.equal(value, untouched[key])


def test_half_a_tensor_is_named_with_what_is_missing(tmp_path):
    halves = KeyMap({"{path}.{part}": Stack("{path}", ("q", "k"))})
    tensors = {"encoder.norm.weight.q": torch.ones(16), "encoder.norm.bias.q": torch.ones(16)}
    tensors |= {"encoder.norm.bias.k": torch.ones(8)}
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_weights(detector(), halves, tmp_path / "w.safetensors", "halves", 1.0)
    assert {error.what for error in caught.value.each()} == {
        "'encoder.norm.weight' cannot be made from the file: the file has no "
        "encoder.norm.weight.k.",
        "'encoder.norm.bias' cannot be made from the file: encoder.norm.bias.q, "
        "encoder.norm.bias.k have shapes (16,), (8,).",
    }


@pytest.mark.parametrize("positions", [0, 1, 16, 39])
def test_positions_of_no_square_grid_are_a_wrong_shape_with_the_reason(tmp_path, positions):
    tensors = mae_tensors()
    tensors["pos_embed"] = torch.ones(1, positions, 32)
    assert refusal(detector(), tensors, tmp_path).what == (
        f"'pos_embed' has shape (1, {positions}, 32), the model's 'encoder.pos_embed' (1, 17, 32): "
        "without the class token's, these positions do not form a square."
    )


def test_file_whose_keys_are_all_dropped_is_an_error(tmp_path):
    error = refusal(detector(), {"cls_token": torch.ones(1, 1, 32)}, tmp_path)
    assert error.what.startswith("the file holds only 0.0 % of the parameters")


def test_unknown_keys_are_counted_and_named(tmp_path):
    tensors = mae_tensors() | {"head.weight": torch.ones(2), "module.x": torch.ones(2)}
    error = refusal(detector(), tensors, tmp_path)
    assert error.what == "2 keys of the file have no place in this model: head.weight, module.x."
    assert error.fix == "check that it is a 'mae' file, and that the backbone's options match it."


def test_key_that_is_renamed_to_nothing_of_ours_is_named_with_its_neighbour(tmp_path):
    tensors = mae_tensors() | {"blocks.2.norm1.weight": torch.ones(32)}
    error = refusal(detector(), tensors, tmp_path)
    assert error.what.startswith("1 key of the file has no place in this model: blocks.2.norm1")
    assert "(the model has 'encoder.blocks." in error.what


def test_every_wrong_shape_is_named(tmp_path):
    tensors = mae_tensors()
    tensors["norm.weight"] = torch.ones(48)
    tensors["decoder_norm.bias"] = torch.ones(24)
    errors = refusal(detector(), tensors, tmp_path).each()
    assert {error.what for error in errors} == {
        "'norm.weight' has shape (48,), the model's 'encoder.norm.weight' (32,).",
        "'decoder_norm.bias' has shape (24,), the model's 'decoder.norm.bias' (16,).",
    }


def test_positions_of_another_width_are_a_wrong_shape(tmp_path):
    tensors = mae_tensors()
    tensors["pos_embed"] = torch.ones(1, 37, 48)
    assert refusal(detector(), tensors, tmp_path).what == (
        "'pos_embed' has shape (1, 37, 48), the model's 'encoder.pos_embed' (1, 17, 32)."
    )


def test_wrapped_pth_loads_as_safetensors_does(tmp_path):
    first, second, tensors = detector(), detector(), mae_tensors()
    load(first, tensors, tmp_path)
    torch.save({"model": tensors, "epoch": 800}, tmp_path / "mae.pth")
    load_weights(second, second.backbone.key_maps["mae"], tmp_path / "mae.pth", "mae", 0.0)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
