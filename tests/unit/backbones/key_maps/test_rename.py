"""Renaming checkpoints by rule, and the two maps of MIMDet on keys of the published layouts."""

import pytest
import torch

from backbones.key_maps.detectron2_detectors import release_to_mimdet
from backbones.key_maps.mae import mae_to_mimdet
from backbones.key_maps.rename import Drop, KeyMap, rename
from backbones.mimdet import MIMDet, MIMDetOptions

SMALL = {
    "width": 32, "depth": 2, "heads": 2, "grid": 4, "decoder_width": 16, "decoder_heads": 2,
    "channels": 8,
}  # fmt: skip
TENSOR = torch.zeros(1)
MAE_DECODER_LAYERS = 8
BLOCK = [
    f"{part}.{kind}"
    for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for kind in ("weight", "bias")
]


def mae_keys(depth: int) -> list[str]:
    """Keys of a MAE pre-training checkpoint with so many encoder blocks."""
    return [
        "cls_token", "pos_embed", "mask_token", "decoder_pos_embed",
        "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias",
        "decoder_embed.weight", "decoder_embed.bias", "decoder_norm.weight", "decoder_norm.bias",
        "decoder_pred.weight", "decoder_pred.bias",
        *(f"blocks.{i}.{part}" for i in range(depth) for part in BLOCK),
        *(f"decoder_blocks.{i}.{part}" for i in range(MAE_DECODER_LAYERS) for part in BLOCK),
    ]  # fmt: skip


def test_first_matching_rule_wins_and_the_rest_is_unknown():
    rules = {"a.{rest}": "b.{rest}", "a.x": "never", "c.{rest}": Drop("not needed")}
    found = rename(dict.fromkeys(["a.x", "c.y", "aa.x", "a"], TENSOR), KeyMap(rules))
    assert list(found.kept) == ["b.x"]
    assert found.sources == {"b.x": ("a.x",)}
    assert found.dropped == {"c.y": "not needed"}
    assert found.unknown == ("aa.x", "a")


def test_two_keys_may_not_become_one():
    found = rename({"a": TENSOR, "b": TENSOR}, KeyMap({"{a|b}": "same"}))
    assert found.broken == {"same": "'b' and 'a' both map to it"}


@pytest.mark.parametrize("fill", ["stem", "mask"])
@pytest.mark.parametrize("layers", [1, 4, 8])
def test_every_mae_key_is_renamed_or_dropped_by_rule(fill, layers):
    backbone = MIMDet(MIMDetOptions(**SMALL, fill=fill, decoder_layers=layers))
    key_map = backbone.key_maps["mae"]
    found = rename(dict.fromkeys(mae_keys(2), TENSOR), key_map)
    assert found.unknown == ()
    own = set(backbone.state_dict())
    assert set(found.kept) <= own
    rest = own - set(found.kept)
    promised = {key for key in rest if backbone.is_pretrained(key)}
    assert {key for key in promised if not key_map.is_fresh(key)} == set()
    assert ("decoder.mask_token" in found.kept) == (fill == "mask")
    assert ("decoder.stem_proj.weight" in rest) == (fill == "stem")


def test_decoder_blocks_beyond_the_first_are_dropped_with_the_reason():
    found = rename(dict.fromkeys(mae_keys(2), TENSOR), mae_to_mimdet(2, stem_filled=True))
    dropped = {key for key in found.dropped if key.startswith("decoder_blocks.")}
    assert {key.split(".")[1] for key in dropped} == set("234567")
    reasons = {found.dropped[key] for key in dropped}
    assert reasons == {"only the first 2 decoder blocks are used"}


def test_ten_decoder_layers_do_not_take_the_first_for_the_tenth():
    key_map = mae_to_mimdet(1, stem_filled=True)
    found = rename({"decoder_blocks.10.norm1.bias": TENSOR}, key_map)
    assert list(found.dropped) == ["decoder_blocks.10.norm1.bias"]


@pytest.mark.parametrize("stray", ["blocks", "head.weight", "module.norm.weight", "fc_norm.bias"])
def test_key_that_mae_does_not_have_is_unknown(stray):
    assert rename({stray: TENSOR}, mae_to_mimdet(4, stem_filled=True)).unknown == (stray,)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("bottom_up.encoder.patch_embed.proj.0.0.weight", "stem.stages.0.0.weight"),
        ("bottom_up.encoder.patch_embed.proj.3.1.bias", "stem.stages.3.1.bias"),
        ("bottom_up.encoder.patch_embed.proj.3.3.weight", "stem.to_tokens.weight"),
        ("bottom_up.encoder.blocks.11.mlp.fc2.bias", "encoder.blocks.11.mlp.fc2.bias"),
        ("bottom_up.decoder.decoder_blocks.3.norm1.bias", "decoder.blocks.3.norm1.bias"),
        ("bottom_up.decoder.decoder_pos_embed", "decoder.pos_embed"),
        ("bottom_up.decoder.conv_feat_proj.weight", "decoder.stem_proj.weight"),
        ("bottom_up.decoder.mask_token", "decoder.mask_token"),
        ("fpn_lateral2.norm.running_mean", "fpn.lateral.0.norm.running_mean"),
        ("fpn_output5.weight", "fpn.output.3.conv.weight"),
    ],
)
def test_released_name_becomes_ours(theirs, ours):
    found = rename({f"backbone.{theirs}": TENSOR}, release_to_mimdet())
    assert list(found.kept) == [f"backbone.{ours}"]


def test_released_level_that_does_not_exist_is_unknown():
    assert rename({"backbone.fpn_output6.weight": TENSOR}, release_to_mimdet()).unknown
