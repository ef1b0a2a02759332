"""Box losses have the values worked out by hand, finite gradients, and detectron2's divisors."""

from typing import get_args

import pytest
import torch

from heads.box_head import box_losses
from heads.box_loss import BOX_LOSSES, giou
from heads.boxes import Coder
from heads.options import BoxLossName, HeadOptions
from heads.roi_sampling import RegionSample
from heads.rpn import AnchorSample, rpn_losses

GIOU = HeadOptions(box_loss="giou", rpn_box_loss="giou", rpn_batch=32)
CODER = Coder((10.0, 10.0, 5.0, 5.0))
REGION = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
SHIFTED = torch.tensor([[5.0, 0.0, 15.0, 10.0]])
"""Half of it covers `REGION`: 50 of 150 square pixels, in a box around both of 150."""
APART = torch.tensor([[30.0, 0.0, 40.0, 10.0]])
"""Beside `REGION`: no overlap, and 200 of the 400 square pixels around both."""


def test_every_name_of_a_box_loss_has_its_function():
    assert {*get_args(BoxLossName)} == {*BOX_LOSSES}
    assert len(BOX_LOSSES) >= 2


@pytest.mark.parametrize(
    ("truth", "expected"),
    [(REGION, 0.0), (SHIFTED, 1 - 50 / 150), (APART, 1 - (0 - 200 / 400))],
    ids=["equal", "half beside", "apart"],
)
def test_giou_of_boxes_is_what_it_is_by_hand(truth, expected):
    loss = giou(torch.zeros(1, 4), REGION, truth, CODER)
    assert loss.item() == pytest.approx(expected, abs=1e-6)  # float32; the loss adds an eps of 1e-7


def test_giou_is_of_decoded_boxes_summed():
    deltas = CODER.encode(SHIFTED, REGION)
    twice = giou(deltas.repeat(2, 1), REGION.repeat(2, 1), REGION.repeat(2, 1), CODER)
    assert twice.item() == pytest.approx(2 * (1 - 50 / 150), abs=1e-5)  # two float32 roundings
    assert giou(deltas, REGION, SHIFTED, CODER).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("truth", [REGION, SHIFTED, APART, torch.zeros(1, 4)])
@pytest.mark.parametrize("start", [0.0, 40.0, -40.0, 1e4])
def test_gradients_of_giou_are_finite_for_any_box(truth, start):
    deltas = torch.full((1, 4), start, requires_grad=True)
    loss = giou(deltas, REGION, truth, CODER)
    loss.backward()
    assert loss.isfinite()
    assert deltas.grad.isfinite().all()


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_without_positive_boxes_the_loss_is_zero_and_still_has_a_gradient(name):
    deltas = torch.zeros(0, 4, requires_grad=True)
    loss = BOX_LOSSES[name](deltas, torch.zeros(0, 4), torch.zeros(0, 4), CODER)
    loss.backward()
    assert loss.item() == 0
    assert deltas.grad.shape == (0, 4)


def test_box_head_divides_giou_by_all_sampled_regions():
    sample = RegionSample(
        torch.tensor([[0.0, 0, 0, 10, 10]]).repeat(4, 1),
        torch.tensor([1, 2, 2, 2]),
        SHIFTED.repeat(4, 1),
        torch.zeros(4, dtype=torch.long),
    )
    _, box = box_losses(torch.zeros(4, 3), torch.zeros(4, 2, 4), sample, GIOU)
    assert box.item() == pytest.approx((1 - 50 / 150) / 4, abs=1e-6)


def test_rpn_divides_giou_by_the_full_sample_of_all_images():
    sample = AnchorSample(torch.tensor([3]), torch.tensor([0]), SHIFTED)
    anchors = torch.cat((APART, REGION))
    _, box = rpn_losses(torch.zeros(2, 2), torch.zeros(2, 2, 4), anchors, sample, GIOU)
    assert box.item() == pytest.approx((1 - 50 / 150) / (2 * GIOU.rpn_batch), abs=1e-8)


def test_default_is_l1_of_the_deltas():
    assert (HeadOptions().box_loss, HeadOptions().rpn_box_loss) == ("l1", "l1")
    loss = BOX_LOSSES["l1"](torch.zeros(1, 4), REGION, SHIFTED, CODER)
    assert loss.item() == pytest.approx(10 * 0.5)  # weight 10, half of the region's width


def test_deltas_that_learn_by_giou_of_the_rpn_reach_the_truth():
    deltas = torch.zeros(1, 2, 4, requires_grad=True)
    sample = AnchorSample(
        torch.tensor([0, 1]), torch.tensor([], dtype=torch.long), torch.cat((SHIFTED, REGION))
    )
    optimizer = torch.optim.Adam([deltas], lr=0.05)
    history = []
    for _ in range(100):
        _, box = rpn_losses(torch.zeros(1, 2), deltas, torch.cat((REGION, APART)), sample, GIOU)
        optimizer.zero_grad()
        box.backward()
        optimizer.step()
        history.append(box.item())
    assert history[29] < 0.7 * history[0]
    assert history[-1] < 0.1 * history[0]
