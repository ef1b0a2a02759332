"""Biases from tables, written out pair by pair."""

import pytest
import torch

from backbones.layers.relative_positions import table_bias


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
