"""PlainViT keeps mimdet's promises in every form, and computes what timm computes."""

import re

import pytest
import torch
from mimdet_plain_vit import PlainViT, PlainViTOptions
from mimdet_plain_vit.options import plain_models
from mimdet_plain_vit.positions import bias, resize_offsets, resize_positions
from mimdet_plain_vit.windows import cut, joined
from pydantic import ValidationError
from timm import create_model
from timm.models.beit import gen_relative_position_index

from mimdet_cli.plugin_api import Drop, KeyMap, promises

WINDOWS = {"model": "deit3_small_patch16_224", "window": 14}
BEIT = {"model": "beit_base_patch16_224", "window": 14}
SMALL = {"width": 64, "depth": 4, "grid": 4, "channels": 8, "drop_path": 0.0}


@pytest.mark.parametrize("promise", promises())
def test_plain_vit_keeps_the_promise_of(promise):
    promise.check(PlainViT)


@pytest.mark.parametrize("options", [WINDOWS, BEIT], ids=["windows", "beit"])
@pytest.mark.parametrize("promise", promises())
def test_other_forms_keep_the_promise_of(promise, options):
    promise.check(PlainViT, options)


def small(**options: object) -> PlainViT:
    torch.manual_seed(0)
    return PlainViT(PlainViTOptions.model_validate({**SMALL, **options})).eval()


def place(key: str, key_map: KeyMap) -> str | Drop | None:
    """Our name of a file's key, or why it is dropped; None if no rule names it."""
    found = key_map.place(key)
    if found is None:
        return None
    parsed, holes = found
    return parsed.rule if isinstance(parsed.rule, Drop) else parsed.ours.fill(holes)


def test_many_plain_vits_of_timm_are_taken():
    names = plain_models()
    assert len(names) > 100
    assert {"vit_base_patch14_reg4_dinov2", "beitv2_large_patch16_224"} <= {*names}
    assert not [name for name in names if re.search("patch(8|32)", name)]


@pytest.mark.parametrize("model", plain_models())
def test_weights_of_every_one_of_them_have_a_place_and_fill_all_but_the_pyramid(model):
    with torch.device("meta"):
        ours = PlainViT(PlainViTOptions.model_validate({**SMALL, "width": 192, "model": model}))
        theirs = create_model(model, embed_dim=192, num_heads=3, depth=4).state_dict()
    (key_map, *_) = ours.key_maps.values()
    places = {key: place(key, key_map) for key in theirs}
    assert not [key for key, found in places.items() if found is None]
    filled = {found for found in places.values() if isinstance(found, str)}
    pretrained = {key for key in ours.state_dict() if ours.is_pretrained(key)}
    assert filled == pretrained
    assert {key for key in ours.state_dict() if not key.startswith("pyramid.")} == pretrained


def test_last_map_is_that_of_timm_without_a_class_token():
    model = create_model(
        "vit_small_patch16_224", embed_dim=64, num_heads=1, depth=4, img_size=64, fc_norm=False,
        class_token=False, global_pool="avg", num_classes=0,
    ).eval()  # fmt: skip
    ours = small(model="vit_small_patch16_224")
    of_pyramid = {k: v for k, v in ours.state_dict().items() if k.startswith("pyramid.")}
    ours.load_state_dict({**model.state_dict(), **of_pyramid})
    seen = []
    ours.norm.register_forward_hook(lambda *call: seen.append(call[2]))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = model.forward_features(images)
        ours(images, torch.tensor([[64, 64]] * 2))
    assert torch.allclose(seen[0].flatten(1, 2), expected, atol=1e-6)  # the order of sums differs


def test_bias_of_every_pair_is_that_of_beits_index():
    table = torch.randn(7 * 7, 3)
    index = gen_relative_position_index((4, 4))[1:, 1:]
    assert torch.equal(bias(table, 4)[0], table[index].permute(2, 0, 1))


def test_offsets_of_a_smaller_window_are_cut_out_and_of_a_larger_one_spread():
    table = torch.arange(49.0).reshape(49, 1)
    smaller = resize_offsets(table, torch.Size((9, 1))).reshape(3, 3)
    assert torch.equal(smaller, table.reshape(7, 7)[2:5, 2:5])
    larger = resize_offsets(table, torch.Size((15 * 15, 1))).reshape(15, 15)
    places = torch.tensor([-7, -3, -1, 0, 1, 3, 7])  # 1, 1 + 2, 1 + 2 + 4
    assert torch.allclose(larger[7 + places][:, 7 + places], table.reshape(7, 7))
    assert torch.allclose(larger[7, 12], (larger[7, 10] + larger[7, 14]) / 2)
    with pytest.raises(ValueError, match="not the offsets"):
        resize_offsets(torch.zeros(50, 1), torch.Size((9, 1)))


def test_positions_leave_the_slots_of_other_tokens_behind():
    table = torch.cat([torch.full((1, 5, 2), 9.0), torch.ones(1, 16, 2)], dim=1)
    resized = resize_positions(5)(table, torch.Size((1, 64, 2)))
    assert torch.allclose(resized, torch.ones(1, 64, 2))
    with pytest.raises(ValueError, match="no square of positions"):
        resize_positions(1)(table, torch.Size((1, 64, 2)))


def test_windows_are_put_back_where_they_were_cut():
    grid = torch.randn(2, 5, 7, 3)
    windows = cut(grid, 4)
    assert windows.shape == (8, 16, 3)
    assert torch.equal(joined(windows, 4, 5, 7), grid)


def test_windowed_blocks_see_their_window_alone():
    model = small(model="vit_small_patch16_224", window=2, global_blocks=())
    grid = torch.randn(1, 4, 4, 64)
    changed = grid.clone()
    changed[:, 3, 3] = torch.randn(64)
    with torch.inference_mode():
        same = torch.isclose(model.block(grid, 0), model.block(changed, 0)).all(-1)[0]
    assert same.tolist() == [[True] * 4, [True] * 4, *[[True, True, False, False]] * 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "vit_base_patch14_dinov2.lvd142m"}, "nearest are vit_base_patch14_dinov2,"),
        ({"model": "vit_base_patch32_224"}, "with patches of 14 or 16 pixels; the nearest are"),
        ({"model": "swin_tiny_patch4_window7_224"}, r"one of vit_\*"),
        ({"model": "nothing"}, "timm has no model of that name"),
        ({"model": "vit_giant_patch14_dinov2", "width": 64}, "a multiple of 384 always can"),
        ({"global_blocks": (1,)}, "no meaning without 'backbone.window'"),
        ({"window": 4, "global_blocks": (12,)}, "there are blocks 0 to 11"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(options, says):
    with pytest.raises(ValidationError, match=says):
        PlainViTOptions.model_validate(options)
