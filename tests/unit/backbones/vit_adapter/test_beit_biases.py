"""ViT-Adapter with BEiT's relative biases instead of absolute positions, against timm's BEiT."""

import pytest
import timm
import torch
from detectors import fill
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table
from timm.models.beit import Beit
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from backbones.key_maps.rename import rename
from backbones.key_maps.timm_classifiers import timm_beit
from backbones.layers.relative_positions import resize_offset_table
from backbones.vit_adapter import ViTAdapter, ViTAdapterOptions
from backbones.vit_adapter.encoder import BiasedAttention
from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.load import LoadReport

SIDE = 4
SMALL = {
    "width": 32, "depth": 4, "heads": 2, "window": SIDE, "global_window": SIDE, "drop_path": 0.0,
    "encoder": "beit", "conv_width": 4, "interactions": 2, "deform_heads": 2, "points": 2,
    "channels": 8,
}  # fmt: skip
LARGE = {
    "width": 1024, "depth": 24, "heads": 16, "deform_heads": 16, "deform_ratio": 0.5,
    "encoder": "beit", "global_window": 56, "layer_scale": 1e-6,
}  # fmt: skip


def adapter(**options) -> ViTAdapter:
    torch.manual_seed(0)
    return ViTAdapter(ViTAdapterOptions(**{**SMALL, **options})).eval()


def classifier(**options) -> Beit:
    """timm's BEiT for images of 4 x 4 patches; every value is its own."""
    torch.manual_seed(1)
    model = Beit(
        img_size=16 * SIDE, embed_dim=32, depth=4, num_heads=2, init_values=0.5, num_classes=5,
        use_abs_pos_emb=False, use_rel_pos_bias=True, **options,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5 if "norm" in name or "bias" in name else 0.2)
    return model.eval()


def load(backbone: ViTAdapter, state: dict[str, Tensor], tmp_path) -> LoadReport:
    return fill(backbone, "timm_beit", state, tmp_path)


def timm_grids(model: Beit, images: Tensor, *, sees_class_token: bool) -> list[Tensor]:
    """Patch tokens after every block; the class token is hidden from them unless asked for.

    The last entry but one of a table is the bias of any patch on the class token: at -1e4 softmax
    gives it the weight 0, and the patches compute what they would without it.
    """
    state = model.state_dict()
    if not sees_class_token:
        for key in state:
            if key.endswith("relative_position_bias_table"):
                state[key][-2] = -1e4
    patches = model.patch_embed(images)
    tokens = torch.cat([model.cls_token.expand(len(images), -1, -1), patches], dim=1)
    grids = []
    for block in model.blocks:
        tokens = block(tokens)
        grids.append(tokens[:, 1:])
    return grids


@torch.no_grad()
def test_encoder_of_the_stored_grid_gives_timms_tokens_after_every_block(tmp_path):
    model, backbone = classifier(), adapter()
    report = load(backbone, model.state_dict(), tmp_path)
    assert report.share == 1
    assert not report.missing
    assert not report.resized
    images = torch.randn(3, 3, 64, 64)
    ours: list[Tensor] = []
    backbone.run(range(4), backbone.embed(images), ours)
    theirs = timm_grids(model, images, sees_class_token=False)
    for one, other in zip(ours, theirs, strict=True):
        # fp32: the same sums, in attention without and with a column of zeros
        assert_close(one.flatten(1, 2), other, atol=1e-4, rtol=1e-4)
    seen = timm_grids(classifier(), images, sees_class_token=True)[-1]
    assert (seen - theirs[-1]).abs().max() > 0.02  # hiding the token is what the test rests on


def test_class_entries_of_the_tables_are_left_behind_by_rule_and_key_biases_are_zero(tmp_path):
    model, backbone = classifier(), adapter()
    report = load(backbone, model.state_dict(), tmp_path)
    dropped = {f"blocks.{i}.attn.relative_position_bias_table[-3:]" for i in range(4)}
    assert set(report.dropped) == dropped | {
        "cls_token", "fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias",
    }  # fmt: skip
    assert {report.dropped[key] for key in dropped} == {"a detector has no class token"}
    bias = backbone.blocks[2].attn.qkv.bias
    assert torch.equal(bias[:32], model.blocks[2].attn.q_bias)
    assert not bias[32:64].any()
    assert torch.equal(bias[64:], model.blocks[2].attn.v_bias)
    assert torch.equal(backbone.blocks[1].ls2.gamma, model.blocks[1].gamma_2)


def test_classifier_without_mean_pooling_loads_too(tmp_path):
    report = load(adapter(), classifier(global_pool="token").state_dict(), tmp_path)
    assert report.share == 1
    assert "norm.weight" in report.dropped


def test_table_of_offsets_in_the_authors_files_is_left_behind(tmp_path):
    state = classifier().state_dict()
    state["blocks.0.attn.relative_position_index"] = torch.zeros(17, 17)
    dropped = load(adapter(), state, tmp_path).dropped
    assert dropped["blocks.0.attn.relative_position_index"] == "offsets are computed"


def test_file_without_a_value_bias_is_refused_by_name(tmp_path):
    state = classifier().state_dict()
    del state["blocks.3.attn.v_bias"]
    with pytest.raises(WeightsError) as caught:
        load(adapter(), state, tmp_path)
    assert caught.value.what == (
        "'blocks.3.attn.qkv.bias' cannot be made from the file: the file has no "
        "blocks.3.attn.v_bias."
    )


@pytest.mark.parametrize("rows", [(), (2,), (3, 2), (43, 2), (48 + 3, 2), (1 + 3, 2)])
def test_table_of_no_square_window_is_refused(tmp_path, rows):
    state = classifier().state_dict()
    state["blocks.0.attn.relative_position_bias_table"] = torch.zeros(rows)
    with pytest.raises(WeightsError, match="relative_position_bias_table"):
        load(adapter(), state, tmp_path)


@pytest.mark.parametrize("name", ["beit_large_patch16_224", "beitv2_large_patch16_224"])
def test_every_key_of_the_large_classifiers_fills_the_large_adapter(name):
    with torch.device("meta"):
        backbone, model = ViTAdapter(ViTAdapterOptions(**LARGE)), timm.create_model(name)
    key_map = backbone.key_maps["timm_beit"]
    renamed = rename(model.state_dict(), key_map)
    assert (renamed.unknown, renamed.broken) == ((), {})
    own = backbone.state_dict()
    resized = []
    for key, tensor in renamed.kept.items():
        resizer = key_map.resizer(key)
        if tensor.shape != own[key].shape:
            assert resizer is not None
            resized.append(key)
            assert resizer(tensor, own[key].shape).shape == own[key].shape
    assert resized == [f"blocks.{i}.attn.relative_position_bias_table" for i in (5, 11, 17, 23)]
    assert {key for key in own if backbone.is_pretrained(key)} == set(renamed.kept)
    assert len(renamed.kept) == 24 * 15 + 2
    assert "pos_embed" not in own


def test_another_window_keeps_the_nearest_offsets_and_ends_at_the_farthest():
    """As in BEiT, neighbours stay neighbours: squeezing 27 offsets into 111 would part them."""
    table = torch.randn(27 * 27, 3)
    wide = resize_offset_table(table, torch.Size((111 * 111, 3))).reshape(111, 111, 3)
    square = table.reshape(27, 27, 3)
    # fp32 values through fp64 weights
    assert_close(wide[54:57, 54:57], square[12:15, 12:15], atol=1e-5, rtol=0)
    assert_close(wide[::110, ::110], square[::26, ::26], atol=1e-5, rtol=0)
    assert wide.abs().max() <= table.abs().max() + 1e-5
    mirrored = resize_offset_table(table.flip(0), torch.Size((111 * 111, 3)))
    assert_close(mirrored.reshape(111, 111, 3).flip(0, 1), wide, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("stored", "side"), [(14, 56), (14, 24), (4, 5)])
def test_resized_table_is_timms(stored, side):
    table = torch.randn((2 * stored - 1) ** 2, 2)
    shape = torch.Size(((2 * side - 1) ** 2, 2))
    theirs = resize_rel_pos_bias_table(table, (side, side), tuple(shape))
    # timm finds the places of the stored offsets to 1e-6 of their growth, which adds up outwards
    assert_close(resize_offset_table(table, shape), theirs, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("stored", "side"), [(14, 3), (14, 1), (2, 2), (2, 7), (56, 14)])
def test_constant_table_stays_constant_at_any_size(stored, side):
    shape = torch.Size(((2 * side - 1) ** 2, 2))
    resized = resize_offset_table(torch.full(((2 * stored - 1) ** 2, 2), 3.0), shape)
    assert_close(resized, torch.full(shape, 3.0))


def test_table_of_the_same_window_is_taken_as_it_is():
    table = torch.randn(49, 2)
    assert torch.equal(resize_offset_table(table, torch.Size((49, 2))), table)


@torch.no_grad()
def test_attention_adds_the_entry_of_each_offset_in_windows_filled_before_the_projection():
    torch.manual_seed(2)
    side, heads = 3, 2
    attention = BiasedAttention(8, heads, side)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    grid = torch.randn(1, 4, 5, 8)
    ours = attention(grid)
    filled = F.pad(grid, (0, 0, 0, 1, 0, 2))  # 4 x 5 -> 6 x 6
    span = 2 * side - 1
    for top, left in ((0, 0), (0, 3), (3, 0), (3, 3)):
        cells = [(y, x) for y in range(top, top + side) for x in range(left, left + side)]
        inside = torch.stack([filled[0, y, x] for y, x in cells])
        q, k, v = attention.qkv(inside).reshape(9, 3, heads, 4).permute(1, 2, 0, 3)
        logits = q @ k.transpose(1, 2) / 2
        for i, (y, x) in enumerate(cells):
            for j, (v_y, v_x) in enumerate(cells):
                entry = (y - v_y + side - 1) * span + x - v_x + side - 1
                logits[:, i, j] += attention.relative_position_bias_table[entry]
        wanted = attention.proj((logits.softmax(-1) @ v).transpose(0, 1).reshape(9, 8))
        for (y, x), value in zip(cells, wanted, strict=True):
            if y < 4 and x < 5:
                assert_close(ours[0, y, x], value, atol=1e-5, rtol=1e-5)  # fp32 sums


@torch.no_grad()
def test_a_bias_on_the_keys_changes_nothing():
    """Why BEiT has none, and why ours may start at zero."""
    torch.manual_seed(3)
    attention = BiasedAttention(8, 2, 3)
    grid = torch.randn(2, 4, 5, 8)
    before = attention(grid)
    attention.qkv.bias[8:16] += torch.randn(8)
    assert_close(attention(grid), before, atol=1e-5, rtol=1e-5)  # fp32 sums


def test_images_of_any_size_and_gradients_reach_every_table():
    backbone = adapter(global_window=6)
    batch = torch.randn(2, 3, 70, 130)
    maps = backbone(batch, torch.tensor([[70, 130]] * 2))
    assert [tuple(x.shape[-2:]) for x in maps.values()] == [(18, 33), (9, 17), (5, 9), (3, 5)]
    sum(x.square().mean() for x in maps.values()).backward()
    tables = [block.attn.relative_position_bias_table for block in backbone.blocks]
    assert [len(table) for table in tables] == [121] * 4
    assert all(table.grad is not None and table.grad.abs().sum() > 0 for table in tables)


def test_absolute_positions_and_their_formats_are_not_there():
    backbone = adapter()
    assert set(backbone.key_maps) == {"timm_beit"}
    assert not any("pos_embed" in key for key in backbone.state_dict())
    assert set(adapter(encoder="vit").key_maps) >= {"timm_vit", "mae_encoder", "hf_mae"}
    assert timm_beit().fresh == ()
