"""Dense cross-attention of the adapter: which cells see which, and the sums."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from backbones.vit_adapter.stripe_attention import (
    GlobalAttention,
    StripeAttention,
    disentangle,
    from_stripes,
    interlace,
    to_stripes,
)

FINE = [(8, 12), (4, 6), (2, 3)]
COARSE = [(4, 6)]
CELLS = sum(h * w for h, w in FINE)


def tokens(grids, channels=8, seed=0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, sum(h * w for h, w in grids), channels, generator=draw)


def seen_from(module: torch.nn.Module, query_grids, grids, index: int) -> Tensor:
    """Which features change the output of query `index`, (S,) bool."""
    features = tokens(grids, seed=1).requires_grad_()
    out = module(tokens(query_grids), query_grids, features, grids)
    (gradient,) = torch.autograd.grad(out[0, index].square().sum(), features)
    assert not gradient[1].any()
    return gradient[0].abs().sum(-1) > 0


def maps_of(seen: Tensor, grids) -> list[Tensor]:
    parts = torch.split(seen, [h * w for h, w in grids])
    return [part.view(grid) for part, grid in zip(parts, grids, strict=True)]


def stripes(count: int) -> StripeAttention:
    torch.manual_seed(0)
    return StripeAttention(8, 8, 4, count)


def test_global_attention_is_the_softmax_over_all_cells_of_all_scales():
    torch.manual_seed(0)
    module = GlobalAttention(8, 4, 2)
    query, features = tokens(COARSE), tokens(FINE, seed=1)
    q, k, v = (
        x.view(2, -1, 2, 2) for x in (module.q(query), module.k(features), module.v(features))
    )
    logits = torch.einsum("bqmc,bsmc->bmqs", q, k) / 2**0.5
    expected = module.out(torch.einsum("bmqs,bsmc->bqmc", logits.softmax(-1), v).flatten(2))
    assert_close(module(query, COARSE, features, FINE), expected)


def test_global_query_sees_everything():
    torch.manual_seed(0)
    assert seen_from(GlobalAttention(8, 8, 2), COARSE, FINE, 7).all()


def test_cross_shaped_query_sees_its_row_and_its_column_on_every_scale():
    row, column = 1, 5  # of the stride-16 grid: stripes 0 of 2 rows, 2 of 3 columns
    seen = seen_from(stripes(1), COARSE, FINE, row * 6 + column)
    for grid, cells in zip(FINE, maps_of(seen, FINE), strict=True):
        scale = grid[0] // 2
        expected = torch.zeros(grid, dtype=torch.bool)
        expected[:scale] = True
        expected[:, 2 * scale :] = True
        assert torch.equal(cells, expected)


def test_cross_shaped_query_of_a_fine_scale_sees_the_same_stripes_of_the_tokens():
    row, column = 7, 0  # of the stride-8 grid: stripes 1 of 2 rows, 0 of 3 columns
    seen = seen_from(stripes(1), FINE, COARSE, row * 12 + column)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[2:] = True
    expected[:, :2] = True
    assert torch.equal(seen.view(4, 6), expected)


def test_pale_shaped_query_sees_every_second_stripe_and_no_filling():
    grids = [(16, 12), (8, 6), (4, 3)]  # 4 x 3 stripes: rows 0 and 2; columns 1 and nothing
    seen = seen_from(stripes(2), [(8, 6)], grids, 0 * 6 + 2)
    for grid, cells in zip(grids, maps_of(seen, grids), strict=True):
        scale = grid[0] // 4
        expected = torch.zeros(grid, dtype=torch.bool)
        for stripe in (0, 2):
            expected[stripe * scale : (stripe + 1) * scale] = True
        expected[:, scale : 2 * scale] = True
        assert torch.equal(cells, expected)


@pytest.mark.parametrize("count", [1, 2])
def test_one_stripe_is_global_attention(count):
    module, grids = stripes(count), [(4, 4), (2, 2), (1, 1)]
    full = GlobalAttention(8, 8, 4)
    full.load_state_dict(module.state_dict())
    query, features = tokens([(2, 2)]), tokens(grids, seed=1)
    assert_close(module(query, [(2, 2)], features, grids), full(query, [(2, 2)], features, grids))


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_go_back_to_where_they_came_from(axis):
    x = tokens(FINE).view(2, CELLS, 4, 2)
    count = FINE[-1][axis]
    assert torch.equal(from_stripes(to_stripes(x, FINE, count, axis), FINE, axis), x)


@pytest.mark.parametrize(("count", "groups"), [(4, 2), (5, 3), (3, 3), (1, 1)])
def test_interlaced_stripes_are_disentangled(count, groups):
    x = torch.randn(2, count, 7, 3, 2)
    assert torch.equal(disentangle(interlace(x, groups), count), x)


def test_odd_heads_are_refused_for_stripes():
    with pytest.raises(ValueError, match="even number of heads, not 3"):
        StripeAttention(9, 9, 3, 1)
