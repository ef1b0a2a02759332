"""Windows, and attention in them against timm and against itself, to a few fp32 roundings."""

import pytest
import torch
from timm.layers.attention import Attention

from backbones.layers.windows import (
    LatePaddedAttention,
    WindowAttention,
    from_windows,
    to_windows,
)
from backbones.vitdet import RelativeAttention

KINDS = {
    "padded after qkv": lambda window: LatePaddedAttention(32, 4, window),
    "padded before qkv": lambda window: WindowAttention(32, 4, window),
    "relative": lambda window: RelativeAttention(32, 4, 8, window),
}


@pytest.mark.parametrize(("height", "width", "side"), [(6, 8, 2), (5, 7, 4), (3, 3, 14), (4, 1, 1)])
def test_joined_windows_are_the_grid_they_were_cut_from(height, width, side):
    grid = torch.randn(2, height, width, 3)
    assert torch.equal(from_windows(to_windows(grid, side), height, width), grid)


def test_windows_follow_the_rows_of_the_grid_image_by_image():
    grid = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1)
    windows = to_windows(grid, 2)
    assert windows.shape == (12, 2, 2, 1)
    assert torch.equal(windows[1, ..., 0], grid[0, :2, 2:4, 0])
    assert torch.equal(windows[3, ..., 0], grid[0, 2:, :2, 0])
    assert torch.equal(windows[11, ..., 0], grid[1, 2:, 4:, 0])


def test_a_window_over_the_edge_is_padded_with_zeros_at_the_bottom_and_right():
    windows = to_windows(torch.ones(1, 3, 3, 1), 2)[..., 0]
    assert torch.equal(windows[1], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert torch.equal(windows[2], torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert torch.equal(windows[3], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("kind", KINDS)
def test_over_the_whole_grid_it_is_timms_attention_over_its_tokens(kind):
    ours, theirs = KINDS[kind](None), Attention(32, 4, qkv_bias=True)
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if "rel_pos" not in k})
    grid = torch.randn(2, 5, 6, 32)
    wanted = theirs(grid.flatten(1, 2)).reshape(2, 5, 6, 32)
    assert torch.allclose(ours(grid), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_sees_its_window_and_no_more(kind):
    attention = KINDS[kind](4)
    grid = torch.randn(1, 8, 8, 32)
    changed = grid.clone()
    changed[0, 1, 1] += 1
    moved = (attention(changed) - attention(grid)).abs().sum(dim=3)[0] > 0
    assert moved[:4, :4].all()
    assert not moved[4:].any()
    assert not moved[:, 4:].any()


def test_both_paddings_agree_where_nothing_is_padded_and_differ_where_something_is():
    after, before = KINDS["padded after qkv"](4), KINDS["padded before qkv"](4)
    before.load_state_dict(after.state_dict())
    even, odd = torch.randn(1, 8, 4, 32), torch.randn(1, 6, 4, 32)
    assert torch.allclose(after(even), before(even), atol=1e-6)
    assert torch.allclose(after(odd)[:, :4], before(odd)[:, :4], atol=1e-6)
    assert (after(odd)[:, 4:] - before(odd)[:, 4:]).abs().max() > 1e-3


def test_a_bias_of_minus_infinity_hides_a_key():
    attention = WindowAttention(32, 4)
    grid = torch.randn(1, 2, 2, 32)
    bias = torch.zeros(1, 4, 4, 4)
    bias[..., 3] = -torch.inf
    changed = grid.clone()
    changed[0, 1, 1] += 1
    assert torch.equal(attention(changed, bias)[0, 0], attention(grid, bias)[0, 0])
    assert not torch.equal(attention(changed)[0, 0], attention(grid)[0, 0])


def test_relative_tables_start_at_zero_move_the_output_and_learn():
    attention = KINDS["relative"](None)
    grid = torch.randn(1, 6, 8, 32)
    before = attention(grid)
    assert attention.rel_pos_h.shape == (15, 8)
    assert not attention.rel_pos_h.any()
    torch.nn.init.normal_(attention.rel_pos_h)
    after = attention(grid)
    assert not torch.allclose(before, after)
    after.sum().backward()
    assert attention.rel_pos_h.grad.abs().sum() > 0
    assert attention.rel_pos_w.grad.abs().sum() > 0
