import math

import pytest
import torch
from torch import nn

from heads.box_head import BoxHead, BoxPredictor, best_of_image, box_losses, decode
from heads.boxes import Coder
from heads.options import HeadOptions
from heads.roi_sampling import RegionSample


def sample(labels: list[int], boxes: torch.Tensor, truth: torch.Tensor) -> RegionSample:
    rois = torch.cat((torch.zeros(len(labels), 1), boxes), dim=1)
    index = torch.zeros(len(labels), dtype=torch.long)
    return RegionSample(rois, torch.tensor(labels, dtype=torch.long), truth, index)


def test_both_losses_are_divided_by_all_sampled_regions():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(4, 1)
    truth = boxes + torch.tensor([1.0, 0.0, 1.0, 0.0])
    logits = torch.zeros(4, 3)
    classification, box = box_losses(
        logits, torch.zeros(4, 2, 4), sample([1, 2, 2, 2], boxes, truth), HeadOptions()
    )
    assert classification.item() == pytest.approx(math.log(3))
    assert box.item() == pytest.approx(10 * 0.1 / 4)  # weight 10, one pixel of ten, one of four


def test_only_the_deltas_of_the_true_class_are_taught():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    deltas = torch.zeros(1, 3, 4, requires_grad=True)
    _, box = box_losses(torch.zeros(1, 4), deltas, sample([1], boxes, boxes + 1), HeadOptions())
    box.backward()
    assert deltas.grad.abs().sum(dim=2)[0].tolist()[::2] == [0, 0]
    assert deltas.grad[0, 1, :2].abs().min() > 0


def test_one_box_for_all_classes_is_taught_by_every_foreground_region():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(3, 1)
    deltas = torch.zeros(3, 1, 4, requires_grad=True)
    _, box = box_losses(
        torch.zeros(3, 6), deltas, sample([4, 0, 5], boxes, boxes + 1), HeadOptions()
    )
    box.backward()
    assert deltas.grad.abs().sum(dim=(1, 2)).gt(0).tolist() == [True, True, False]


def test_the_box_loss_weighs_deltas_as_its_coder_does():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    coder = Coder((30.0, 30.0, 15.0, 15.0))
    shifted = boxes + torch.tensor([1.0, 0.0, 1.0, 0.0])
    _, box = box_losses(
        torch.zeros(1, 2), torch.zeros(1, 1, 4), sample([0], boxes, shifted), HeadOptions(), coder
    )
    assert box.item() == pytest.approx(30 * 0.1)


@pytest.mark.parametrize("labels", [[2, 2], []])
def test_losses_without_foreground_or_without_regions_are_finite(labels):
    head = BoxHead(4, HeadOptions(channels=4, fc_channels=8)).train()
    predictor = BoxPredictor(8, 2, boxes=2)
    boxes = torch.rand(len(labels), 4)
    logits, deltas = predictor(head(torch.randn(len(labels), 4, 7, 7)))
    losses = box_losses(logits, deltas, sample(labels, boxes, boxes), HeadOptions())
    sum(losses).backward()
    assert torch.isfinite(torch.stack(losses)).all()
    assert losses[1].item() == 0
    assert all(p.grad is not None for p in (*head.parameters(), *predictor.parameters()))


@pytest.mark.parametrize("norm", ["bn", "syncbn", "ln", "gn", "none"])
def test_convolutions_have_a_bias_exactly_without_a_norm(norm):
    head = BoxHead(8, HeadOptions(channels=8, fc_channels=16, norm=norm))
    assert len(head.convs) == 4
    assert all((block.conv.bias is None) == (norm != "none") for block in head.convs)
    assert head(torch.randn(2, 8, 7, 7)).shape == (2, 16)


def test_two_linear_layers_replace_the_convolutions():
    head = BoxHead(8, HeadOptions(box_head="2fc", channels=99, fc_channels=16))
    assert [tuple(layer.weight.shape) for layer in head.fcs] == [(16, 8 * 49), (16, 16)]
    assert head(torch.randn(2, 8, 7, 7)).shape == (2, 16)
    assert not any(isinstance(m, nn.Conv2d) for m in head.modules())


def test_initial_scales_are_detectron2s():
    torch.manual_seed(0)
    head = BoxHead(32, HeadOptions(channels=64, fc_channels=128))  # fan-out is not fan-in
    predictor = BoxPredictor(128, 40, boxes=40)
    for block in head.convs:
        assert block.conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    # c2-xavier is uniform within sqrt(3 / fan_in)
    bound = (3 / (64 * 49)) ** 0.5
    assert bound * 0.99 < head.fcs[0].weight.abs().max().item() <= bound
    assert predictor.scores.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert predictor.deltas.weight.std().item() == pytest.approx(0.001, rel=0.05)
    biases = [head.fcs[0].bias, predictor.scores.bias, predictor.deltas.bias]
    assert all(bias.abs().max() == 0 for bias in biases)


def test_boxes_are_decoded_per_class_with_their_weights_and_clipped():
    rois = torch.tensor([[1.0, 0.0, 0.0, 10.0, 10.0]])
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 1] = torch.tensor([10.0, 0.0, 5 * math.log(2), 0.0])  # one width right, twice as wide
    boxes = decode(deltas, rois, torch.tensor([[5, 5], [50, 23]]))
    torch.testing.assert_close(boxes[0], torch.tensor([[0.0, 0, 10, 10], [5.0, 0, 23, 10]]))


def found(probabilities, boxes, **options):
    return best_of_image(
        torch.tensor(probabilities), torch.tensor(boxes).float(), HeadOptions(**options)
    )


BOX, NEAR, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


def test_background_is_the_last_class_and_never_detected():
    boxes, scores, labels = found([[0.06, 0.04, 0.9]], [[BOX, FAR]])
    assert labels.tolist() == [0]  # 0.04 is below the score, 0.9 is background
    assert boxes.tolist() == [BOX]
    assert scores.tolist() == pytest.approx([0.06])


def test_classes_do_not_suppress_each_other_but_boxes_of_one_class_do():
    probabilities = [[0.5, 0.4, 0.1], [0.6, 0.3, 0.1]]
    _, scores, labels = found(probabilities, [[BOX, BOX], [NEAR, NEAR]])
    assert scores.tolist() == pytest.approx([0.6, 0.4])
    assert labels.tolist() == [0, 1]


def test_one_box_for_all_classes_is_detected_as_each_of_them():
    boxes, scores, labels = found([[0.5, 0.3, 0.2], [0.0, 0.4, 0.6]], [[BOX], [FAR]])
    assert labels.tolist() == [0, 1, 1]
    assert scores.tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert boxes.tolist() == [BOX, FAR, BOX]


def test_detections_are_limited_and_best_first():
    _, scores, _ = found([[0.2, 0.0], [0.7, 0.3]], [[BOX], [FAR]], detections=1)
    assert scores.tolist() == pytest.approx([0.7])


def test_an_empty_box_stays_a_detection_and_one_that_is_not_finite_does_not():
    _, scores, _ = found([[0.5, 0.5], [0.6, 0.4]], [[[3, 3, 3, 3]], [[0, 0, math.inf, 1]]])
    assert scores.tolist() == [0.5]


def test_no_regions_give_no_detections():
    boxes, scores, labels = best_of_image(torch.zeros(0, 6), torch.zeros(0, 5, 4), HeadOptions())
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
