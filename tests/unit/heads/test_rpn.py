import math

import pytest
import torch
from torch import nn

from heads.instances import Target
from heads.options import HeadOptions
from heads.rpn import RPN, AnchorSample, best_per_level, rpn_losses, sample_anchors

STRIDES = (4, 8, 16, 32, 64)
SMALL = HeadOptions(channels=8, rpn_batch=16)


def maps(side: int = 64, images: int = 2) -> list[torch.Tensor]:
    return [torch.randn(images, 8, max(side // s, 1), max(side // s, 1)) for s in STRIDES]


def test_all_layers_start_normal_with_std_0_01_and_zero_bias():
    torch.manual_seed(0)
    rpn = RPN(64, STRIDES, HeadOptions(channels=64))
    layers = [m for m in rpn.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == 4
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("convs", [1, 2])
def test_number_of_convolutions_is_an_option(convs):
    assert len(RPN(8, STRIDES, HeadOptions(channels=8, rpn_convs=convs)).convs) == convs


def test_logits_and_deltas_come_in_the_order_of_the_anchors():
    rpn = RPN(8, STRIDES, SMALL)
    features = maps()
    logits, deltas = rpn.predict(features)
    anchors = rpn.anchors([tuple(m.shape[2:]) for m in features])
    assert [x.shape[1] for x in logits] == [x.shape[1] for x in deltas] == [len(a) for a in anchors]
    nn.init.zeros_(rpn.objectness.weight)
    nn.init.zeros_(rpn.deltas.weight)
    rpn.objectness.bias.data = torch.arange(3.0)
    rpn.deltas.bias.data = torch.arange(12.0)
    logits, deltas = rpn.predict(features)
    assert logits[4][0].tolist() == [0, 1, 2]
    assert deltas[4][0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_both_losses_are_divided_by_the_full_sample_of_all_images():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    sample = AnchorSample(
        torch.tensor([3]), torch.tensor([0]), torch.tensor([[21.0, 20.0, 31.0, 30.0]])
    )
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    deltas = torch.zeros(2, 2, 4)
    objectness, box = rpn_losses(logits, deltas, anchors, sample, HeadOptions())
    expected = math.log1p(math.exp(2)) + math.log1p(math.exp(-1))
    assert objectness.item() == pytest.approx(expected / 512)
    assert box.item() == pytest.approx(0.1 / 512)  # L1, not smooth: one pixel of ten


def test_at_most_half_of_the_sample_is_positive():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(30, 1)
    anchors[20:] += 100
    sample = sample_anchors(anchors, [torch.tensor([[0.0, 0.0, 10.0, 10.0]])], 8)
    assert (len(sample.positive), len(sample.negative)) == (4, 4)
    assert sample.positive.max() < 20 <= sample.negative.min()


def test_anchors_outside_the_image_take_part_and_the_best_anchor_is_positive_below_the_threshold():
    anchors = torch.tensor([[-10.0, -10.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    sample = sample_anchors(anchors, [torch.tensor([[0.0, 0.0, 10.0, 10.0]])], 8)
    assert sample.positive.tolist() == [0]  # IoU 0.25
    assert sample.negative.tolist() == [1]


def test_anchors_between_the_thresholds_are_left_out():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0]])
    sample = sample_anchors(anchors, [torch.tensor([[0.0, 0.0, 10.0, 10.0]])], 8)
    assert (sample.positive.tolist(), sample.negative.tolist()) == ([0], [])


def test_an_image_without_objects_gives_only_negative_anchors():
    sample = sample_anchors(torch.rand(40, 4), [torch.zeros(0, 4)], 16)
    assert (len(sample.positive), len(sample.negative), sample.boxes.shape) == (0, 16, (0, 4))


def test_losses_without_objects_reach_every_parameter():
    rpn = RPN(8, STRIDES, SMALL).train()
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    _, losses = rpn(maps(), torch.tensor([[64, 64], [50, 40]]), [empty, empty])
    sum(losses.values()).backward()
    assert losses["rpn_box"].item() == 0
    assert all(p.grad is not None for p in rpn.parameters())


def propose(boxes: list[list[float]], logits: list[float], size=(100, 100), **options):
    """Proposals from anchors that are the boxes themselves."""
    rpn = RPN(8, STRIDES, HeadOptions(channels=8, **options)).eval()
    levels = ([torch.tensor([logits])], [torch.zeros(1, len(boxes), 4)], [torch.tensor(boxes)])
    (found,) = rpn.propose(*levels, torch.tensor([size]))
    return found


def test_proposals_are_sorted_by_logit_and_suppressed_above_the_threshold():
    boxes = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [40.0, 0.0, 50.0, 10.0]]
    found = propose(boxes, [1.0, 2.0, -9.0])
    assert found.logits.tolist() == [2, -9]  # a low logit alone drops nothing
    assert found.boxes.tolist() == [boxes[1], boxes[2]]


def test_levels_do_not_suppress_each_other():
    rpn = RPN(8, STRIDES, HeadOptions(channels=8)).eval()
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    logits, deltas = [torch.zeros(1, 1)] * 2, [torch.zeros(1, 1, 4)] * 2
    (found,) = rpn.propose(logits, deltas, [box, box], torch.tensor([[100, 100]]))
    assert len(found.boxes) == 2


def test_only_boxes_without_area_inside_the_image_are_dropped():
    boxes = [[100.0, 0.0, 120.0, 10.0], [0.0, 0.0, 1e-4, 10.0], [90.0, 90.0, 130.0, 130.0]]
    found = propose(boxes, [3.0, 2.0, 1.0])
    assert found.logits.tolist() == [2, 1]
    assert found.boxes[1].tolist() == [90, 90, 100, 100]


def test_limits_before_and_after_suppression_hold():
    boxes = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(5)]
    logits = [5.0, 4.0, 3.0, 2.0, 1.0]
    assert propose(boxes, logits, rpn_pre_nms_test=3).logits.tolist() == [5, 4, 3]
    assert propose(boxes, logits, rpn_post_nms_test=2).logits.tolist() == [5, 4]


def test_best_anchors_are_taken_from_each_level():
    logits = [torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([[-7.0]])]
    deltas = [torch.zeros(1, 3, 4), torch.zeros(1, 1, 4)]
    anchors = [torch.rand(3, 4), torch.rand(1, 4)]
    boxes, scores, levels = best_per_level(logits, deltas, anchors, 2)
    assert scores.tolist() == [[5, 3, -7]]
    assert levels.tolist() == [0, 0, 1]
    torch.testing.assert_close(boxes[0], torch.cat((anchors[0][[1, 2]], anchors[1])))


def test_large_size_deltas_are_clamped():
    deltas = [torch.full((1, 1, 4), 50.0)]
    boxes, _, _ = best_per_level(
        [torch.zeros(1, 1)], deltas, [torch.tensor([[0.0, 0.0, 16.0, 16.0]])], 1
    )
    side = boxes[0, 0, 2] - boxes[0, 0, 0]
    assert side.item() == pytest.approx(1000, rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_training_on_proposals_that_are_not_finite_is_refused(value):
    rpn = RPN(8, STRIDES, SMALL).train()
    rpn.objectness.bias.data[0] = value
    with pytest.raises(FloatingPointError, match="not finite"):
        rpn(maps(), torch.tensor([[64, 64], [64, 64]]))


def test_evaluation_leaves_out_boxes_that_are_not_finite():
    assert propose([[0.0, 0.0, 10.0, 10.0]], [math.nan]).boxes.shape == (0, 4)
