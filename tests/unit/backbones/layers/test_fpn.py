"""The feature pyramid: sizes, biases, and what flows from where to where."""

import pytest
import torch

from backbones.layers.fpn import FPN


def maps(generator: torch.Generator | None = None) -> list[torch.Tensor]:
    return [
        torch.randn(1, channels, 32 // 2**i, 48 // 2**i, generator=generator)
        for i, channels in enumerate((4, 6, 8, 8))
    ]


@pytest.mark.parametrize("norm", ["bn", "ln", "gn", "none"])
def test_every_level_keeps_its_size_and_gets_the_same_width(norm):
    levels = FPN((4, 6, 8, 8), 16, norm)(maps())
    assert [tuple(level.shape) for level in levels] == [
        (1, 16, 32, 48),
        (1, 16, 16, 24),
        (1, 16, 8, 12),
        (1, 16, 4, 6),
    ]


@pytest.mark.parametrize(("norm", "biased"), [("gn", False), ("none", True)])
def test_convolution_has_a_bias_exactly_where_no_norm_follows(norm, biased):
    fpn = FPN((4, 6, 8, 8), 16, norm)
    assert all((block.conv.bias is not None) == biased for block in [*fpn.lateral, *fpn.output])
    assert all(hasattr(block, "norm") != biased for block in [*fpn.lateral, *fpn.output])


@pytest.mark.parametrize("changed", range(4))
def test_a_map_reaches_its_own_and_all_finer_levels_only(changed):
    fpn = FPN((4, 6, 8, 8), 16, "none")
    before = maps(torch.Generator().manual_seed(0))
    after = [x + (i == changed) for i, x in enumerate(before)]
    moved = [not torch.equal(a, b) for a, b in zip(fpn(before), fpn(after), strict=True)]
    assert moved == [level <= changed for level in range(4)]


def test_coarse_cell_is_added_to_the_four_cells_below_it():
    fpn = FPN((1, 1), 1, "none")
    for block in (*fpn.lateral, *fpn.output):
        torch.nn.init.zeros_(block.conv.weight)
        middle = block.conv.kernel_size[0] // 2
        block.conv.weight.data[0, 0, middle, middle] = 1  # the identity
    coarse = torch.tensor([[[[1.0, 2.0]]]])
    fine, _ = fpn([torch.zeros(1, 1, 2, 4), coarse])
    assert fine[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
