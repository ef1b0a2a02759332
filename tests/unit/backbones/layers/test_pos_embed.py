"""Sine-cosine tables against their formula, and resizing them."""

import math

import pytest
import torch

from backbones.layers.pos_embed import resize_square_table, resize_table, sine_cosine_table


def test_values_follow_the_formula():
    width, grid = 16, 5
    table = sine_cosine_table(width, grid)[0]
    assert table.shape == (1 + grid * grid, width)
    quarter = width // 4
    for row, column, i in ((0, 0, 0), (2, 3, 1), (4, 1, 3)):
        values = table[1 + row * grid + column]
        for start, position in ((0, column), (2 * quarter, row)):
            angle = position / 10000 ** (i / quarter)
            assert values[start + i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert values[start + quarter + i] == pytest.approx(math.cos(angle), abs=1e-6)


def test_slot_of_the_class_token_is_zero():
    assert not sine_cosine_table(8, 3)[:, 0].any()


def test_width_that_does_not_divide_by_four_is_refused():
    with pytest.raises(ValueError, match="divisible by 4, not 30"):
        sine_cosine_table(30, 4)


def test_grid_of_the_stored_size_is_returned_as_it_is():
    table = sine_cosine_table(8, 6)
    assert torch.equal(resize_table(table, 6, 6), table[:, 1:])


def test_rows_and_columns_are_resized_apart():
    resized = resize_table(sine_cosine_table(16, 8), 5, 11).view(5, 11, 16)
    columns, rows = resized[..., :8], resized[..., 8:]
    # bicubic weights sum to one only up to rounding
    torch.testing.assert_close(columns, columns[:1].expand_as(columns), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows, rows[:, :1].expand_as(rows), atol=1e-5, rtol=0)
    assert columns[0].std(dim=0).max() > 0.1


def test_stored_table_of_another_grid_keeps_its_first_slot():
    table = sine_cosine_table(8, 6) + 1
    resized = resize_square_table(table, torch.Size((1, 1 + 16, 8)))
    assert resized.shape == (1, 17, 8)
    assert torch.equal(resized[:, :1], table[:, :1])
    assert torch.equal(resized[:, 1:], resize_table(table, 4, 4))
