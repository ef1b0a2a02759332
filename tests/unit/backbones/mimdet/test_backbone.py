"""The MIMDet backbone: what it promises, what the encoder sees, how gaps are filled, its size."""

import math

import pytest
import torch
from detectors import SMALL_MIMDET, shapes_of
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from backbones.layers.pos_embed import resize_table
from backbones.mimdet import MIMDet, MIMDetOptions
from backbones.mimdet.sampling import Sampler, TokenSample, random_order, share, take
from backbones.options.base import TokenSampling

SIZES = torch.tensor([[64, 96], [64, 96]])


def small(**options) -> MIMDet:
    torch.manual_seed(0)
    return MIMDet(MIMDetOptions(**{**SMALL_MIMDET, **options}))


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 96, generator=torch.Generator().manual_seed(1))


class Seen:
    """Records what enters and leaves a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        module.register_forward_hook(self.keep)

    def keep(self, module, inputs, output) -> None:
        self.inputs, self.output = inputs, output


@pytest.mark.parametrize("fill", ["stem", "mask"])
@pytest.mark.parametrize("p5", ["max", "mean"])
def test_levels_are_what_was_promised_before_the_forward_pass(fill, p5):
    backbone = small(fill=fill, p5=p5, train_ratio=0.4)
    maps = backbone(images(), SIZES)
    assert list(maps) == [level.name for level in backbone.levels]
    for level in backbone.levels:
        expected = (2, level.channels, 64 // level.stride, 96 // level.stride)
        assert tuple(maps[level.name].shape) == expected


@pytest.mark.parametrize("fill", ["stem", "mask"])
def test_gradients_reach_every_trainable_parameter(fill):
    backbone = small(fill=fill, train_ratio=0.5)
    sum(x.square().sum() for x in backbone(images(), SIZES).values()).backward()
    trainable = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert len(trainable) > 40
    assert [name for name, p in trainable.items() if p.grad is None or not p.grad.any()] == []


def test_depth_rises_from_the_stem_to_what_follows_the_encoder():
    backbone = small(depth=3)
    depths = {name: backbone.depth_of(name) for name, _ in backbone.named_parameters()}
    assert backbone.depth == 4
    assert depths["stem.to_tokens.weight"] == depths["encoder.pos_embed"] == 0
    assert [depths[f"encoder.blocks.{i}.mlp.fc1.weight"] for i in range(3)] == [1, 2, 3]
    assert depths["encoder.norm.weight"] == depths["decoder.embed.weight"] == 4
    assert depths["fpn.output.0.conv.weight"] == 4


def test_training_and_evaluation_each_have_their_own_ratio():
    backbone = small(train_ratio=0.3, eval_ratio=0.75)
    encoder = Seen(backbone.encoder)
    backbone.train()(images(), SIZES)
    assert encoder.output[-1].shape[1] == math.floor(0.3 * 24)
    assert backbone.tokens_seen(64, 96) == (7, 24)
    backbone.eval()(images(), SIZES)
    assert encoder.output[-1].shape[1] == 18
    assert backbone.tokens_seen(64, 96) == (18, 24)


def test_every_token_is_seen_in_evaluation_by_default():
    backbone = small().eval()
    encoder = Seen(backbone.encoder)
    first = backbone(images(), SIZES)
    assert encoder.output[-1].shape[1] == 24
    second = backbone(images(), SIZES)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sampling_in_evaluation_is_a_function_of_the_seed():
    backbone = small(eval_ratio=0.5).eval()
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        runs.append(backbone(images(), SIZES)["p4"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_padding_is_not_seen_while_an_image_has_other_tokens():
    backbone = small(train_ratio=0.5)
    chosen = []

    def order(grid):
        found = random_order(grid)
        chosen.append((grid.valid, found))
        return found

    backbone.sampler = Sampler(order, share)
    backbone(images(), torch.tensor([[64, 48], [17, 96]]))
    ((valid, found),) = chosen
    kept = valid.gather(1, found[:, :12])
    assert valid.sum(dim=1).tolist() == [12, 12]
    assert kept.all()


def test_a_sampler_may_choose_by_what_is_in_the_image():
    backbone = small(train_ratio=0.25)
    strongest = Sampler(
        lambda grid: grid.features.norm(dim=2).argsort(dim=1, descending=True), share
    )
    backbone.sampler = strongest
    encoder, stem = Seen(backbone.encoder), Seen(backbone.stem)
    backbone(images(), SIZES)
    tokens = stem.output[2].flatten(2).transpose(1, 2)  # (B, N, D)
    best = tokens.norm(dim=2).topk(6, dim=1).indices
    positions = resize_table(backbone.encoder.pos_embed, 4, 6)
    torch.testing.assert_close(encoder.inputs[0], take(tokens, best) + take(positions, best))


@pytest.mark.parametrize(
    ("options", "declared"),
    [
        ({}, (0.5, 1.0, False)),
        ({"eval_ratio": 0.5}, (0.5, 0.5, True)),
        ({"eval_ratio": 0.5, "sampling": "grid"}, (0.5, 0.5, False)),
        ({"train_ratio": 1.0}, (1.0, 1.0, False)),
    ],
)
def test_options_declare_the_shares_and_whether_they_are_drawn(options, declared):
    assert small(**options).options.token_sampling == TokenSampling(*declared)


def test_a_forward_pass_leaves_no_trace_in_the_module():
    backbone = small(train_ratio=0.5)
    before = {key: id(value) for key, value in vars(backbone).items()}
    backbone(images(), SIZES)
    assert {key: id(value) for key, value in vars(backbone).items()} == before


@pytest.mark.parametrize("fill", ["stem", "mask"])
def test_dropped_cells_are_filled_and_kept_ones_are_put_back(fill):
    backbone = small(fill=fill, train_ratio=0.5)
    order = torch.stack([torch.arange(24).roll(5), torch.arange(24).flip(0)])
    backbone.sampler = Sampler(lambda grid: order, share)
    encoder, decoder, stem = (Seen(m) for m in (backbone.encoder, backbone.decoder, backbone.stem))
    backbone(images(), SIZES)
    filled = decoder.inputs[0]  # (B, N, E)
    stem_tokens = stem.output[2].flatten(2).transpose(1, 2)  # (B, N, D)
    for i in range(2):
        kept, dropped = order[i, :12], order[i, 12:]
        embedded = backbone.decoder.embed(encoder.output[-1][i])
        torch.testing.assert_close(filled[i, kept], embedded)
        if fill == "stem":
            expected = backbone.decoder.stem_proj(stem_tokens[i, dropped])
        else:
            expected = backbone.decoder.mask_token[0].expand(12, -1)
        torch.testing.assert_close(filled[i, dropped], expected)


def test_an_order_of_all_tokens_changes_nothing():
    backbone = small().eval()
    tokens = torch.randn(2, 24, 32)
    order = torch.stack([torch.randperm(24), torch.randperm(24)])

    def filled(sample):
        (encoded,) = backbone.encoder(sample.keep(tokens), 4, 6)
        return backbone.decoder.fill(encoded, tokens, sample)

    sampled, whole = filled(TokenSample(order, 24)), filled(TokenSample(None, 24))
    # attention sums the tokens in another order
    torch.testing.assert_close(sampled, whole, atol=1e-5, rtol=1e-5)


def test_encoder_costs_half_the_linear_and_a_quarter_of_the_attention_part_at_half_the_tokens():
    width, depth, tokens = 32, 2, 24

    def measured(ratio: float) -> int:
        backbone = small(train_ratio=ratio)
        with FlopCounterMode(display=False) as counter:
            backbone(images(1), SIZES[:1])
        return sum(counter.get_flop_counts()["MIMDet.encoder"].values())

    def linear(n: float) -> float:
        return depth * 2 * n * 12 * width**2  # qkv 3, projection 1, MLP 8

    def attention(n: float) -> float:
        return depth * 2 * 2 * n**2 * width  # scores, and the sum of values

    assert measured(1.0) == linear(tokens) + attention(tokens)
    assert measured(0.5) == linear(tokens) / 2 + attention(tokens) / 4


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        backbone = small(checkpoint_activations=recompute, drop_path=0.5)
        torch.manual_seed(7)
        backbone(images(), SIZES)["p4"].sum().backward()
        gradients.append([p.grad for p in backbone.parameters() if p.requires_grad])
    for plain, recomputed in zip(*gradients, strict=True):
        assert (plain is None) == (recomputed is None)
        if plain is not None:
            torch.testing.assert_close(plain, recomputed)


def test_stochastic_depth_rises_linearly_to_the_last_block():
    backbone = small(depth=5, drop_path=0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in backbone.encoder.blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "a width of 32 is not divisible by 5 attention heads"),
        ({"decoder_heads": 3}, "a width of 16 is not divisible by 3 attention heads"),
        ({"train_ratio": 0}, "greater than 0"),
        ({"eval_ratio": 1.5}, "less than or equal to 1"),
        ({"decoder_layers": -1}, "greater than or equal to 0"),
        ({"widht": 32}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        MIMDetOptions(**{**SMALL_MIMDET, **options})


@pytest.mark.parametrize(
    ("recipe", "overrides", "count"),
    [
        ("base_50pct", (), 127_954_768),
        ("large_50pct", (), 349_332_080),
        ("base_25pct", (), 127_561_552),
        ("base_25pct", ("backbone.decoder_layers=1",), 118_104_400),
        ("base_25pct", ("backbone.decoder_layers=8",), 140_171_088),
    ],
)
def test_parameters_of_the_shipped_recipes_are_as_many_as_released(recipe, overrides, count):
    detector = shapes_of(recipe, *overrides)
    assert sum(parameter.numel() for parameter in detector.parameters()) == count
