"""The block against timm's. Tolerances are a few fp32 roundings."""

from functools import partial

import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from backbones.layers.block import ViTBlock, apply_block, drop_rates
from backbones.layers.windows import WindowAttention
from backbones.options.transformer import chosen_blocks, quarter_ends, unfit_blocks, unfit_heads


@pytest.mark.parametrize("scale", [None, 0.5])
def test_it_is_timms_block_with_the_same_parameter_names(scale):
    ours = ViTBlock(32, WindowAttention(32, 4), 0.0, scale)
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = TimmBlock(32, 4, qkv_bias=True, init_values=scale, norm_layer=norm)
    theirs.load_state_dict(ours.state_dict())
    grid = torch.randn(2, 3, 5, 32)
    wanted = theirs(grid.flatten(1, 2)).reshape(2, 3, 5, 32)
    assert torch.allclose(ours(grid), wanted, atol=1e-5)


def test_drop_path_leaves_out_whole_images_in_training_only():
    block = ViTBlock(32, WindowAttention(32, 4), 0.9)
    grid = torch.randn(64, 2, 2, 32)
    kept = (block(grid) == grid).flatten(1).all(dim=1)
    assert 30 <= kept.sum() <= 62  # 0.9 squared of 64 are left as they were, 52 on average
    assert not (block.eval()(grid) == grid).all()


def test_recomputing_gives_the_same_values_and_gradients():
    block = ViTBlock(32, WindowAttention(32, 4), 0.0)
    gradients = []
    for recompute in (False, True):
        block.zero_grad()
        torch.manual_seed(0)
        apply_block(block, torch.randn(1, 4, 4, 32), recompute=recompute).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in block.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_drop_rates_rise_linearly_from_zero():
    assert drop_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert drop_rates(0.3, 1) == [0.0]


@pytest.mark.parametrize(
    ("depth", "ends"), [(12, [2, 5, 8, 11]), (24, [5, 11, 17, 23]), (32, [7, 15, 23, 31])]
)
def test_the_global_blocks_of_the_papers_end_the_quarters(depth, ends):
    assert quarter_ends(depth) == ends
    assert chosen_blocks(None, depth) == frozenset(ends)
    assert chosen_blocks((), depth) == frozenset()
    assert unfit_blocks("key", None, depth) == unfit_blocks("key", ends, depth) == []


def test_blocks_that_do_not_exist_are_named_by_number_and_key():
    assert unfit_blocks("backbone.global_blocks", (2, 12, 14), 12) == [
        f"'backbone.global_blocks' names block {i}, the last one of a depth of 12 is 11"
        for i in (12, 14)
    ]
    assert unfit_blocks("backbone.global_blocks", None, 10) == [
        "a depth of 10 has no quarters: list the blocks in 'backbone.global_blocks'"
    ]


def test_heads_that_do_not_divide_the_width_are_answered_with_those_that_do():
    assert unfit_heads(768, 12) == []
    assert unfit_heads(36, 5) == [
        "'backbone.width' 36 is not divisible by 'backbone.heads' 5: use one of 1, 2, 3, 4, 6, 9, "
        "12, 18"
    ]
