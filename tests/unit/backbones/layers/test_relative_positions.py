"""Biases from tables, written out pair by pair. Tolerances are a few fp32 roundings."""

import pytest
import torch
from torch.nn import functional as F

from backbones.layers.relative_positions import by_offset, decomposed_bias, table_bias


def test_an_entry_belongs_to_the_offset_of_query_and_key():
    table = torch.randn(9, 4)
    entries = by_offset(table, 5)
    for query in range(5):
        for key in range(5):
            assert torch.equal(entries[query, key], table[query - key + 4])


@pytest.mark.parametrize("side", [3, 9])
def test_a_table_of_another_length_is_resized_linearly(side):
    table = torch.randn(9, 4)
    wanted = F.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T
    assert torch.equal(by_offset(table, side)[side - 1, 0], wanted[-1])
    assert torch.equal(by_offset(table, side)[0, side - 1], wanted[0])


def test_the_decomposed_bias_is_query_times_row_entry_plus_query_times_column_entry():
    height, width = 3, 4
    queries = torch.randn(2, 2, height * width, 8, dtype=torch.float64)
    rows, columns = torch.randn(5, 8).double(), torch.randn(7, 8).double()
    bias = decomposed_bias(queries, rows, columns, height, width)
    assert bias.shape == (2, 2, 12, 12)
    for query in range(height * width):
        for key in range(height * width):
            row = rows[query // width - key // width + height - 1]
            column = columns[query % width - key % width + width - 1]
            wanted = queries[:, :, query] @ (row + column)
            assert torch.allclose(bias[:, :, query, key], wanted, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 3)])
def test_the_plain_bias_is_the_table_entry_of_the_offset_for_every_head(height, width):
    side, heads = 4, 3
    table = torch.randn((2 * side - 1) ** 2, heads)
    bias = table_bias(table, height, width)
    assert bias.shape == (1, heads, height * width, height * width)
    for query in range(height * width):
        for key in range(height * width):
            rows = query // width - key // width + side - 1
            columns = query % width - key % width + side - 1
            entry = table[rows * (2 * side - 1) + columns]
            assert torch.equal(bias[0, :, query, key], entry)


def test_every_entry_of_a_table_that_is_read_learns():
    table = torch.zeros(49, 2, requires_grad=True)
    table_bias(table, 4, 4).sum().backward()
    pairs = [4 - abs(offset) for offset in range(-3, 4)]
    wanted = torch.tensor([float(a * b) for a in pairs for b in pairs])
    assert torch.equal(table.grad, wanted[:, None].expand(-1, 2))
