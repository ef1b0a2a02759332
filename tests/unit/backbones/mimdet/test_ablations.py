"""MIMDet's ablations: each option's values run, differ, have the paper's sizes, or are refused."""

from typing import get_args

import pytest
import torch
from detectors import shapes_of
from pydantic import ValidationError

from backbones.key_maps.rename import rename
from backbones.layers.pos_embed import resize_table
from backbones.mimdet import MIMDet, MIMDetOptions
from backbones.mimdet.sampling import grid_pattern
from backbones.options.transformer import quarter_ends
from mimdet_cli.build import complete
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import load_recipe

SMALL = {
    "width": 32, "depth": 4, "heads": 2, "drop_path": 0.0, "grid": 10, "window": 3,
    "decoder_width": 16, "decoder_heads": 2, "decoder_layers": 1, "channels": 8, "norm": "gn",
    "train_ratio": 1.0,
}  # fmt: skip
SIZES = torch.tensor([[64, 96], [50, 80]])
HALF = {"train_ratio": 0.5, "eval_ratio": 0.5}
VARIANTS = {
    "sampling": {"random": HALF, "grid": HALF},
    "input": {"sampled": {}, "windows": {}},
    "fill": {"stem": HALF, "mask": HALF},
    "p5": {"max": {}, "mean": {}},
    "stem": {"naive": {}, "convnext": {}},
    "pyramid": {"hybrid": {}, "vit": {}},
    "norm": {"bn": {}, "syncbn": {}, "ln": {}, "gn": {}, "none": {}},
}
WITHOUT_DECODER = [
    {"decoder_layers": 0},
    {"decoder_layers": 0, "input": "windows"},
    {"decoder_layers": 0, "input": "windows", "pyramid": "vit"},
    {"decoder_layers": 0, "pyramid": "vit", "stem": "convnext"},
]
EVERY = [
    *({name: value, **more} for name, values in VARIANTS.items() for value, more in values.items()),
    *({"decoder_layers": layers} for layers in (1, 2, 4, 8)),
    *WITHOUT_DECODER,
    {"sampling": "grid", "train_ratio": 0.25, "eval_ratio": 0.125},
    {"checkpoint_activations": True, "input": "windows", "pyramid": "vit"},
]


def small(**options):
    torch.manual_seed(0)
    return MIMDet(MIMDetOptions(**{**SMALL, **options}))


def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def print_of(backbone):
    """What tells two variants apart: their parameters' number and their maps."""
    torch.manual_seed(3)
    count = sum(parameter.numel() for parameter in backbone.parameters())
    with torch.no_grad():
        maps = backbone.eval()(images(), SIZES)
    return count, *(round(float(x.double().abs().sum()), 3) for x in maps.values())


def test_every_value_of_every_named_choice_is_exercised_here():
    fields = MIMDetOptions.model_fields.items()
    choices = {
        name: set(values)
        for name, field in fields
        if (values := get_args(field.annotation)) and all(isinstance(x, str) for x in values)
    }
    assert {name: set(values) for name, values in VARIANTS.items()} == choices
    assert len(choices) == 7


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_value_changes_the_maps_or_the_number_of_parameters(name):
    prints = {
        value: print_of(small(**{name: value}, **more)) for value, more in VARIANTS[name].items()
    }
    if name == "norm":  # one process: the same batch normalisation by another name
        assert prints.pop("syncbn") == prints["bn"]
    assert len(set(prints.values())) == len(prints) >= 2


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_every_variant_runs_forward_and_backward(options):
    backbone = small(**options)
    if options.get("norm") == "syncbn":
        backbone.eval()  # in training it needs a GPU
    maps = backbone(images(), SIZES)
    for level in backbone.levels:
        shape = (2, level.channels, 64 // level.stride, 96 // level.stride)
        assert tuple(maps[level.name].shape) == shape
    sum(x.square().sum() for x in maps.values()).backward()
    idle = {
        name.rpartition(".")[0]
        for name, parameter in backbone.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    seen, there_are = backbone.tokens_seen(64, 96)
    filled = seen == there_are and backbone.options.decoder_layers > 0
    assert idle == ({"decoder.stem_proj"} if filled else set())


def test_decoder_layers_change_the_number_of_parameters():
    counts = [print_of(small(decoder_layers=layers))[0] for layers in (0, 1, 2, 4, 8)]
    assert counts == sorted(set(counts))
    assert counts[2] - counts[1] == (counts[4] - counts[3]) / 4


def test_a_windows_side_changes_the_maps_but_no_parameter():
    three, seven = (print_of(small(input="windows", window=side)) for side in (3, 7))
    assert three[0] == seven[0]
    assert three[1:] != seven[1:]


def kept_cells(backbone):
    """Grid cells, (B, K), whose tokens the encoder sees in the next forward pass."""
    seen = []
    backbone.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        tokens = backbone.stem(images())[2].flatten(2).transpose(1, 2)
        positions = resize_table(backbone.encoder.pos_embed, 4, 6)  # (1, N, D)
        backbone(images(), SIZES)
    return torch.cdist(seen[0], tokens + positions).argmin(dim=2)


@pytest.mark.parametrize("ratio", [0.125, 0.25, 0.5, 0.75])
def test_grid_sampling_shows_the_encoder_the_pattern_of_the_canvas(ratio):
    backbone = small(sampling="grid", train_ratio=ratio)
    cells = kept_cells(backbone)
    pattern = grid_pattern(4, 6, ratio).flatten().nonzero()[:, 0]
    assert torch.equal(cells[0], pattern)
    assert cells.shape == (2, 24 * ratio)
    assert backbone.tokens_seen(64, 96) == (24 * ratio, 24)


def test_grid_sampling_in_training_changes_nothing_in_evaluation_with_all_tokens():
    options = {"train_ratio": 0.5, "eval_ratio": 1.0}
    grid, chance = (small(sampling=name, **options).eval() for name in ("grid", "random"))
    ours, theirs = grid(images(), SIZES), chance(images(), SIZES)
    assert all(torch.equal(ours[name], theirs[name]) for name in ("p2", "p3", "p4", "p5"))


def test_grid_sampling_does_not_depend_on_the_seed():
    backbone = small(sampling="grid", **HALF)
    torch.manual_seed(1)
    first = backbone(images(), SIZES)["p4"]
    torch.manual_seed(2)
    assert torch.equal(backbone(images(), SIZES)["p4"], first)


def windowed_and_plain(window):
    windowed = small(input="windows", window=window)
    plain = small()
    plain.load_state_dict(windowed.state_dict())
    return windowed.encoder.eval(), plain.encoder.eval()


def test_windows_add_no_parameter_and_keep_every_name():
    assert small(input="windows").state_dict().keys() == small().state_dict().keys()


def test_every_window_is_encoded_as_if_it_were_alone():
    windowed, plain = windowed_and_plain(3)
    grid = torch.randn(2, 6, 9, 32)
    with torch.no_grad():
        (tokens,) = windowed(grid.flatten(1, 2), 6, 9)
        encoded = tokens.unflatten(1, (6, 9))
        for top in (0, 3):
            for left in (0, 3, 6):
                (alone,) = plain(grid[:, top : top + 3, left : left + 3].flatten(1, 2), 3, 3)
                ours = encoded[:, top : top + 3, left : left + 3].flatten(1, 2)
                # other batch sizes, other order of sums
                torch.testing.assert_close(ours, alone, atol=1e-5, rtol=1e-5)


def test_a_window_that_reaches_over_the_edge_attends_to_zeros():
    windowed, plain = windowed_and_plain(3)
    grid = torch.randn(2, 2, 2, 32)
    with torch.no_grad():
        ours = windowed.blocks[0](grid)
        block = plain.blocks[0]
        padded = torch.nn.functional.pad(block.norm1(grid), (0, 0, 0, 1, 0, 1))  # (B, 3, 3, D)
        attended = block.attn(padded.flatten(1, 2)).unflatten(1, (3, 3))[:, :2, :2]
        expected = grid + attended
        expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_a_window_as_large_as_the_grid_is_the_whole_attention():
    windowed, plain = windowed_and_plain(4)
    tokens = torch.randn(2, 16, 32)
    with torch.no_grad():
        (ours,), (whole,) = windowed(tokens, 4, 4), plain(tokens, 4, 4)
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)


def test_without_a_decoder_the_encoders_output_goes_to_the_coarse_levels():
    backbone = small(decoder_layers=0, input="windows")
    encoded, merged = [], []
    backbone.encoder.register_forward_hook(lambda module, inputs, output: encoded.extend(output))
    for lateral in backbone.fpn.lateral:
        lateral.register_forward_pre_hook(lambda module, inputs: merged.append(inputs[0]))
    backbone(images(), SIZES)
    grid = encoded[0].transpose(1, 2).unflatten(2, (4, 6))  # (B, N, D) -> (B, D, h, w)
    assert not any(name.startswith("decoder.") for name in backbone.state_dict())
    assert torch.equal(merged[2], grid)
    assert torch.equal(merged[3], torch.nn.functional.max_pool2d(grid, 2))


def test_the_pyramid_of_the_vit_takes_the_outputs_of_its_first_two_quarters():
    backbone = small(pyramid="vit", depth=8)
    outputs, raised = [], []
    for block in backbone.encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    backbone.raised.register_forward_pre_hook(lambda module, inputs: raised.extend(inputs[1]))
    backbone(images(), SIZES)
    assert quarter_ends(8)[:2] == [1, 3]
    for ours, block in zip(raised, (1, 3), strict=True):
        assert torch.equal(ours.flatten(2).transpose(1, 2), outputs[block])


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (("decoder_layers=1",), 118_104_400),
        (("decoder_layers=2",), 121_256_784),
        (("decoder_layers=4",), 127_561_552),
        (("decoder_layers=8",), 140_171_088),
        (("decoder_layers=0", "train_ratio=1", "input=windows"), 113_407_312),
        (("decoder_layers=0", "train_ratio=1", "input=windows", "pyramid=vit"), 120_734_800),
        (("stem=convnext",), 127_561_552 - 4_079_712 + 6_010_560),
    ],
)
def test_parameters_are_as_many_as_in_tables_5_7_and_8_with_mask_filling(overrides, count):
    detector = shapes_of("base_25pct", *(f"backbone.{override}" for override in overrides))
    assert sum(parameter.numel() for parameter in detector.parameters()) == count


def mae_keys(depth):
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    block = [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    ends = [f"{part}.{kind}" for part in ("embed", "norm", "pred") for kind in ("weight", "bias")]
    return [
        *("cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "norm.weight", "norm.bias"),
        *("patch_embed.proj.weight", "patch_embed.proj.bias"),
        *(f"decoder_{name}" for name in ends),
        *(f"blocks.{i}.{name}" for i in range(depth) for name in block),
        *(f"decoder_blocks.{i}.{name}" for i in range(8) for name in block),
    ]


@pytest.mark.parametrize("options", [{"stem": "convnext"}, *WITHOUT_DECODER], ids=str)
def test_a_mae_checkpoint_fills_everything_that_it_knows_of(options):
    backbone = small(**options)
    key_map = backbone.key_maps["mae"]
    renamed = rename(dict.fromkeys(mae_keys(4), torch.zeros(1)), key_map)
    missing = set(backbone.state_dict()) - set(renamed.kept)
    assert not renamed.unknown
    assert set(renamed.kept) <= set(backbone.state_dict())
    assert len(renamed.kept) >= 51
    promised = {key for key in missing if backbone.is_pretrained(key)}
    assert {key for key in promised if not key_map.is_fresh(key)} == set()
    if not backbone.options.decoder_layers:
        assert "there is no decoder" in renamed.dropped.values()


MAE = {"mae", "hf_mae", "mae_encoder", "hf_mae_encoder"}


@pytest.mark.parametrize(
    ("options", "formats"),
    [
        ({}, {*MAE, "mimdet_release"}),
        ({"sampling": "grid"}, {*MAE, "mimdet_release"}),
        ({"stem": "convnext"}, {*MAE, "convnext_stem"}),
        ({"decoder_layers": 0}, MAE),
        ({"pyramid": "vit"}, MAE),
    ],
)
def test_a_variant_offers_only_the_formats_that_can_fill_it(options, formats):
    assert set(small(**options).key_maps) == formats


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"decoder_layers": 0, "train_ratio": 0.5},
            "'backbone.decoder_layers' 0 needs every token: set 'backbone.train_ratio' and "
            "'backbone.eval_ratio' to 1, not 'backbone.train_ratio' 0.5",
        ),
        (
            {"input": "windows", "train_ratio": 0.5, "eval_ratio": 0.25},
            "'backbone.input' windows needs every token: set 'backbone.train_ratio' and "
            "'backbone.eval_ratio' to 1, not 'backbone.train_ratio' 0.5 and 'backbone.eval_ratio' "
            "0.25",
        ),
        (
            {"input": "windows", "pyramid": "vit", "decoder_layers": 0, "eval_ratio": 0.5},
            "'backbone.decoder_layers' 0 and 'backbone.input' windows and 'backbone.pyramid' vit "
            "need every token: set 'backbone.train_ratio' and 'backbone.eval_ratio' to 1, not "
            "'backbone.eval_ratio' 0.5",
        ),
        (
            {"pyramid": "vit", "depth": 6},
            "'backbone.pyramid' vit takes the encoder's maps by quarters: 'backbone.depth' 6 must "
            "be a multiple of 4",
        ),
        (
            {"input": "windows", "window": 11},
            "'backbone.window' 11 is larger than the grid of 10 x 10 tokens ('backbone.grid'): use "
            "at most 10",
        ),
        (
            {"sampling": "grid", "train_ratio": 0.3},
            "'backbone.train_ratio' 0.3 has no regular pattern: with 'backbone.sampling' grid use "
            "one of 0.125, 0.25, 0.5, 0.75, 1",
        ),
        (
            {"sampling": "grid", "train_ratio": 0.5, "eval_ratio": 0.9, "heads": 3},
            "a width of 32 is not divisible by 3 attention heads; 'backbone.eval_ratio' 0.9 has no "
            "regular pattern: with 'backbone.sampling' grid use one of 0.125, 0.25, 0.5, 0.75, 1",
        ),
    ],
)
def test_options_that_make_no_sense_together_are_refused_with_the_fix(options, message):
    with pytest.raises(ValidationError) as caught:
        MIMDetOptions(**{**SMALL, **options})
    (error,) = caught.value.errors()
    assert str(error["ctx"]["error"]) == message


def test_a_decoder_that_is_left_out_needs_no_heads_that_fit():
    assert MIMDetOptions(**{**SMALL, "decoder_layers": 0, "decoder_heads": 3}).decoder_layers == 0


def test_a_recipe_is_refused_before_training_with_the_key_and_the_fix():
    with pytest.raises(RecipeError) as caught:
        complete(load_recipe("base_50pct", ["backbone.input=windows"]))
    assert caught.value.what == (
        "'backbone.input' windows needs every token: set 'backbone.train_ratio' and "
        "'backbone.eval_ratio' to 1, not 'backbone.train_ratio' 0.5."
    )
