"""The deformable core against `grid_sample` and finite differences, and at its edges.

Tolerances: 1e-5 in single precision, whose sums run in another order; the default 1e-7 in double.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from backbones.vit_adapter.deform_attention import (
    DeformableAttention,
    bordered,
    centres,
    deformable_sum,
    ring,
)

GRIDS = [(6, 4), (3, 5), (1, 1)]


def by_grid_sample(value: Tensor, grids, locations: Tensor, weights: Tensor) -> Tensor:
    """The usual formulation: a `grid_sample` per level, heads folded into the batch."""
    B, _, M, C = value.shape
    Q, P = locations.shape[1], locations.shape[4]
    sampled = []
    for level, part in enumerate(torch.split(value, [h * w for h, w in grids], dim=1)):
        maps = part.permute(0, 2, 3, 1).reshape(B * M, C, *grids[level])
        places = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        sampled.append(F.grid_sample(maps, places, align_corners=False))  # (B * M, C, Q, P)
    shares = weights.permute(0, 2, 1, 3, 4).reshape(B * M, 1, Q, len(grids) * P)
    summed = (torch.stack(sampled, dim=-2).flatten(-2) * shares).sum(-1)
    return summed.reshape(B, M * C, Q).transpose(1, 2)


def case(low: float, high: float, dtype=torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Value, locations between `low` and `high`, weights: 2 images, 7 queries, 3 heads."""
    draw = torch.Generator().manual_seed(0)
    cells = sum(h * w for h, w in GRIDS)
    value = torch.randn(2, cells, 3, 5, generator=draw, dtype=dtype)
    locations = torch.rand(2, 7, 3, len(GRIDS), 2, 2, generator=draw, dtype=dtype)
    weights = torch.rand(2, 7, 3, len(GRIDS), 2, generator=draw, dtype=dtype)
    inputs = (value, low + (high - low) * locations, weights)
    return tuple(x.requires_grad_() for x in (y.detach() for y in inputs))


def run(function, inputs) -> list[Tensor]:
    value, locations, weights = inputs
    out = function(value, GRIDS, locations, weights)
    probe = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * probe).sum(), inputs)]


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (-0.4, 1.4), (-9.0, 9.0)])
def test_sums_and_gradients_are_those_of_grid_sample(low, high):
    inputs = case(low, high)
    for found, expected in zip(
        run(deformable_sum, inputs), run(by_grid_sample, inputs), strict=True
    ):
        assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_finite_differences():
    inputs = case(-0.3, 1.3, torch.float64)
    assert torch.autograd.gradcheck(
        lambda value, locations, weights: deformable_sum(value, GRIDS, locations, weights), inputs
    )


def test_a_point_on_the_centre_of_a_cell_reads_that_cell_alone():
    value = torch.arange(15.0).view(1, 15, 1, 1)
    locations = centres([(3, 5)], value.device).view(1, 15, 1, 1, 1, 2)
    out = deformable_sum(value, [(3, 5)], locations, torch.ones(1, 15, 1, 1, 1))
    assert_close(out, value.flatten(2), rtol=0, atol=1e-5)


def test_points_far_outside_read_zeros_and_are_not_moved():
    value, locations, weights = case(4.0, 5.0)
    out, *gradients = run(deformable_sum, (value, locations, weights))
    assert not out.any()
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_location_that_is_no_number_spoils_its_own_query_at_most(bad):
    value, locations, weights = (x.detach().clone() for x in case(0.1, 0.9))
    expected = deformable_sum(value, GRIDS, locations, weights)
    locations[1, 3] = bad
    out = deformable_sum(value, GRIDS, locations, weights)
    others = torch.ones(2, 7, dtype=torch.bool)
    others[1, 3] = False
    assert torch.equal(out[others], expected[others])
    assert not torch.isfinite(out[1, 3]).all() or not out[1, 3].any()


def test_every_level_gets_a_ring_of_zeros():
    value = torch.ones(2, 24 + 15 + 1, 3, 5)
    ringed = bordered(value, GRIDS)
    assert ringed.shape == (2, 8 * 6 + 5 * 7 + 3 * 3, 3, 5)
    assert ringed.sum() == value.sum()
    first = ringed[0, :48, 0, 0].view(8, 6)
    assert first[1:-1, 1:-1].all()
    assert first.sum() == 24


def test_value_gets_no_gradient_where_it_needs_none():
    value, locations, weights = case(0.1, 0.9)
    out = deformable_sum(value.detach(), GRIDS, locations, weights)
    out.sum().backward()
    assert value.grad is None
    assert locations.grad.any()


def test_gradients_are_the_same_bit_for_bit_when_deterministic_algorithms_are_required():
    expected = run(deformable_sum, case(-0.3, 1.3))
    torch.use_deterministic_algorithms(True)
    try:
        found = run(deformable_sum, case(-0.3, 1.3))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_first_points_lie_on_rings_in_the_direction_of_their_head():
    offsets = ring(heads=8, levels=2, points=3).view(8, 2, 3, 2)
    assert_close(offsets.abs().amax(dim=-1), torch.tensor([1.0, 2.0, 3.0]).expand(8, 2, 3))
    assert_close(offsets[0, 0, 0], torch.tensor([1.0, 0.0]))
    assert_close(offsets[1, 1, 2], torch.tensor([3.0, 3.0]))
    assert_close(offsets[2, 0, 1], torch.tensor([0.0, 2.0]), rtol=0, atol=1e-6)


def attention(**sizes) -> DeformableAttention:
    torch.manual_seed(0)
    return DeformableAttention(
        24, **{"value_width": 12, "heads": 3, "levels": 3, "points": 2} | sizes
    )


def test_fresh_attention_does_not_depend_on_what_the_query_says():
    module, features = attention(), torch.randn(2, 40, 24)
    outs = [module(torch.randn(2, 15, 24), [(3, 5)], features, GRIDS) for _ in range(2)]
    assert_close(outs[0], outs[1])
    assert outs[0].shape == (2, 15, 24)


def test_core_stays_in_single_precision_under_autocast():
    module, features, query = attention(), torch.randn(2, 40, 24), torch.randn(2, 15, 24)
    exact = module(query, [(3, 5)], features, GRIDS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module(query, [(3, 5)], features, GRIDS)
    half.float().sum().backward()
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), exact, rtol=0.05, atol=0.05)  # bfloat16 keeps 8 bits
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_centres_are_between_zero_and_one_column_first():
    places = centres([(2, 4), (1, 1)], torch.device("cpu"))
    assert places.shape == (9, 2)
    assert_close(places[1], torch.tensor([0.375, 0.25]))
    assert_close(places[8], torch.tensor([0.5, 0.5]))
