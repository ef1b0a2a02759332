"""Grid sampling: the patterns as drawn, odd sides, padding, and the number that is kept."""

import pytest
import torch

from backbones.mimdet.sampling import (
    GRID_PATTERNS,
    TokenGrid,
    grid_count,
    grid_order,
    grid_pattern,
    valid_tokens,
)
from backbones.options.mimdet import GRID_RATIOS

DRAWN = {
    (4, 6, 0.125): """
        x . . . x .
        . . . . . .
        . . x . . .
        . . . . . .
    """,
    (4, 6, 0.25): """
        x . x . x .
        . . . . . .
        x . x . x .
        . . . . . .
    """,
    (4, 6, 0.5): """
        x . x . x .
        . x . x . x
        x . x . x .
        . x . x . x
    """,
    (4, 6, 0.75): """
        x x x x x x
        x . x . x .
        x x x x x x
        x . x . x .
    """,
    (3, 5, 0.25): """
        x . x . x
        . . . . .
        x . x . x
    """,
    (3, 5, 0.5): """
        x . x . x
        . x . x .
        x . x . x
    """,
    (2, 7, 0.5): """
        x . x . x . x
        . x . x . x .
    """,
    (3, 3, 0.75): """
        x x x
        x . x
        x x x
    """,
}


def ordered(valid, height, width, ratio):
    """The order of tokens whose features do not matter."""
    return grid_order(TokenGrid(torch.zeros(*valid.shape, 1), valid, height, width, ratio))


def drawn(pattern):
    return "\n".join(" ".join("x" if kept else "." for kept in row) for row in pattern.tolist())


def lines(text):
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize(("height", "width", "ratio"), list(DRAWN))
def test_pattern_is_the_drawn_one(height, width, ratio):
    assert drawn(grid_pattern(height, width, ratio)) == lines(DRAWN[height, width, ratio])


def test_there_is_a_pattern_for_every_share_that_the_options_allow_and_for_no_other():
    assert tuple(GRID_PATTERNS) == GRID_RATIOS


@pytest.mark.parametrize("ratio", GRID_RATIOS)
def test_an_even_grid_keeps_the_exact_share(ratio):
    assert grid_pattern(8, 12, ratio).sum() == 96 * ratio


@pytest.mark.parametrize("ratio", GRID_RATIOS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 2), (5, 7)])
def test_no_grid_is_left_without_a_token(ratio, height, width):
    pattern = grid_pattern(height, width, ratio)
    assert pattern.shape == (height, width)
    assert pattern[0, 0]


@pytest.mark.parametrize("ratio", GRID_RATIOS)
@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7)])
def test_an_order_begins_with_its_pattern_and_names_every_token_once(ratio, height, width):
    pattern = grid_pattern(height, width, ratio)
    order = ordered(torch.ones(2, height * width, dtype=torch.bool), height, width, ratio)
    kept = grid_count(height, width, ratio)
    assert kept == pattern.sum()
    assert torch.equal(order[0, :kept], pattern.flatten().nonzero()[:, 0])
    assert torch.equal(order[0], order[1])
    assert torch.equal(order[0].sort().values, torch.arange(height * width))


def test_an_image_smaller_than_the_canvas_makes_up_the_count_from_its_other_tokens():
    sizes = torch.tensor([[64, 96], [64, 64]])  # grids of 4 x 6 and 4 x 4 tokens in one of 4 x 6
    valid = valid_tokens(sizes, 4, 6, 16)
    pattern = grid_pattern(4, 6, 0.5)
    order = ordered(valid, 4, 6, 0.5)
    kept = order[1, : int(pattern.sum())]
    own = (pattern.flatten() & valid[1]).nonzero()[:, 0]
    assert torch.equal(kept[:8], own)
    assert valid[1, kept].all()
    assert len(set(kept.tolist())) == 12
    assert torch.equal(order[0, :12], pattern.flatten().nonzero()[:, 0])


def test_padding_comes_last_in_every_image():
    sizes = torch.tensor([[20, 40], [64, 17], [64, 96]])
    valid = valid_tokens(sizes, 4, 6, 16)
    sorted_valid = valid.gather(1, ordered(valid, 4, 6, 0.25))
    assert (sorted_valid.int().diff(dim=1) <= 0).all()


def test_tokens_that_make_up_the_count_are_spread_over_the_image():
    valid = valid_tokens(torch.tensor([[640, 640]]), 40, 80, 16)  # half of the canvas is padding
    pattern = grid_pattern(40, 80, 0.25)
    own = int((pattern.flatten() & valid[0]).sum())
    extra = ordered(valid, 40, 80, 0.25)[0, own : int(pattern.sum())]
    assert len(extra) == 400
    rows, columns = extra // 80, extra % 80
    for side in (rows, columns):
        quarters = side.div(10, rounding_mode="floor").bincount()
        assert quarters.tolist() == pytest.approx([100] * 4, abs=15)


def test_the_order_is_no_matter_of_chance():
    valid = valid_tokens(torch.tensor([[50, 70], [64, 96]]), 4, 6, 16)
    state = torch.get_rng_state()
    first = ordered(valid, 4, 6, 0.5)
    assert torch.equal(first, ordered(valid, 4, 6, 0.5))
    assert torch.equal(torch.get_rng_state(), state)
