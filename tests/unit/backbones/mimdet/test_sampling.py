"""Which tokens are kept, in what order, and how they find their way back."""

from typing import Literal

import pytest
import torch

from backbones.mimdet.sampling import (
    SAMPLERS,
    TokenGrid,
    put_back,
    random_order,
    share,
    take,
    valid_tokens,
)
from backbones.options.mimdet import PATTERNS, STOCHASTIC, MIMDetOptions


@pytest.mark.parametrize(
    ("tokens", "ratio", "kept"),
    [(16, 0.5, 8), (7, 0.5, 3), (16, 1.0, 16), (9, 0.75, 6), (50, 0.12, 6), (16, 0.01, 1)],
)
def test_share_of_the_tokens_is_rounded_down_but_never_to_none(tokens, ratio, kept):
    assert share(1, tokens, ratio) == kept


def grid(valid):
    """Tokens in one row, of which the features do not matter."""
    return TokenGrid(torch.zeros(*valid.shape, 1), valid, 1, valid.shape[1], 0.5)


def test_every_way_of_sampling_that_a_recipe_may_name_is_in_the_table():
    words = MIMDetOptions.model_fields["sampling"].annotation.__args__
    assert set(words) == set(SAMPLERS)
    assert len(words) >= 2


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_options_tell_which_ways_of_sampling_draw_other_tokens_every_time(name):
    tokens = TokenGrid(torch.rand(1, 64, 4), torch.ones(1, 64, dtype=torch.bool), 8, 8, 0.5)
    orders = [SAMPLERS[name].order(tokens) for _ in range(2)]
    assert torch.equal(*orders) == (name not in STOCHASTIC)


def test_way_of_sampling_that_is_neither_drawn_nor_a_pattern_takes_any_share():
    assert {*STOCHASTIC, *PATTERNS} <= {*SAMPLERS}

    class More(MIMDetOptions):
        sampling: Literal["random", "grid", "salient"] = "salient"

    found = More(train_ratio=0.3, eval_ratio=0.45).token_sampling
    assert (found.train_ratio, found.eval_ratio, found.stochastic) == (0.3, 0.45, False)


def test_token_is_valid_where_it_covers_at_least_one_pixel():
    sizes = torch.tensor([[17, 32], [16, 33], [48, 48]])
    first, second, third = valid_tokens(sizes, 3, 3, patch=16).view(3, 3, 3)
    assert first.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert second.tolist() == [[True, True, True], [False] * 3, [False] * 3]
    assert third.all()


def test_order_is_a_permutation_of_its_own_for_each_image():
    torch.manual_seed(0)
    order = random_order(grid(torch.ones(4, 100, dtype=torch.bool)))
    assert torch.equal(order.sort(dim=1).values, torch.arange(100).expand(4, -1))
    assert len({tuple(row.tolist()) for row in order}) == 4


def test_padding_tokens_come_last():
    valid = torch.zeros(2, 60, dtype=torch.bool)
    valid[0, ::2] = True
    valid[1, :5] = True
    order = random_order(grid(valid))
    for i, count in enumerate((30, 5)):
        assert valid[i, order[i, :count]].all()
        assert not valid[i, order[i, count:]].any()


def test_every_token_is_as_likely_to_be_kept():
    torch.manual_seed(0)
    kept = random_order(grid(torch.ones(4000, 16, dtype=torch.bool)))[:, :4]
    shares = torch.bincount(kept.flatten(), minlength=16) / 4000
    # four standard deviations of a share of 1/4 in 4000 draws are 0.027
    assert shares.sub(0.25).abs().max() < 0.03


def test_same_seed_gives_the_same_order():
    valid = torch.ones(2, 50, dtype=torch.bool)
    torch.manual_seed(3)
    first = random_order(grid(valid))
    torch.manual_seed(3)
    assert torch.equal(random_order(grid(valid)), first)
    assert not torch.equal(random_order(grid(valid)), first)


def test_put_back_undoes_an_order():
    torch.manual_seed(0)
    tokens = torch.randn(3, 20, 5)
    order = random_order(grid(torch.ones(3, 20, dtype=torch.bool)))
    assert torch.equal(put_back(take(tokens, order), order), tokens)


def test_positions_shared_by_the_batch_are_taken_per_image():
    positions = torch.arange(6.0).view(1, 6, 1)
    index = torch.tensor([[5, 0], [1, 1]])
    assert take(positions, index).squeeze(2).tolist() == [[5, 0], [1, 1]]
