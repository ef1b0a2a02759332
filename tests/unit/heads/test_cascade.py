import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from heads.box_head import box_losses
from heads.cascade import CODERS, OVERLAPS, CascadeHeads, moved, refined
from heads.instances import BitPatch, InstanceMasks, Target
from heads.mask_head import mask_loss
from heads.options import HeadOptions
from heads.pooling import to_rois
from heads.roi_sampling import label_regions, sample_regions
from heads.rpn import RPN

STRIDES = (4, 8, 16, 32)
SMALL = HeadOptions(channels=8, fc_channels=16, norm="none", roi_batch=32, cascade=True)
SIZES = torch.tensor([[64, 64]])
TRUTH = torch.tensor([[0.0, 0.0, 40.0, 40.0]])


FULL = InstanceMasks((BitPatch.of(np.ones((64, 64), dtype=bool)),) * 2, 64, 64)
TARGET = Target(TRUTH, torch.tensor([1]), FULL)


def cascade(classes: int = 3, **options) -> CascadeHeads:
    torch.manual_seed(0)
    return CascadeHeads(8, STRIDES, classes, SMALL.model_copy(update=options))


def maps() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 8, 64 // s, 64 // s, generator=generator) for s in STRIDES]


def say(heads: CascadeHeads, stage: int, logits: list[float], deltas: list[float]) -> None:
    """Let a stage answer the same for every region."""
    predictor = heads.box_predictor[stage]
    for layer, values in ((predictor.scores, logits), (predictor.deltas, deltas)):
        nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor(values)


def still(heads: CascadeHeads) -> CascadeHeads:
    """All stages leave their boxes where they are and prefer no class."""
    for stage in range(3):
        say(heads, stage, [0.0] * 4, [0.0] * 4)
    return heads


def seen_by(heads: CascadeHeads) -> list[int]:
    """Grows by the number of regions that each box head gets."""
    counts: list[int] = []
    for head in heads.box_head:
        head.register_forward_pre_hook(lambda _, args: counts.append(len(args[0])))
    return counts


@pytest.mark.parametrize(
    ("backbone", "detector"), [(91_449_024, 141_160_990), (311_237_888, 360_949_854)]
)
def test_with_vitdets_backbone_the_parameters_are_the_measured_ones(backbone, detector):
    options = HeadOptions(norm="ln", cascade=True)
    with torch.device("meta"):
        parts = RPN(256, (*STRIDES, 64), options), CascadeHeads(256, STRIDES, 80, options)
    count = sum(p.numel() for part in parts for p in part.parameters())
    assert count == 49_711_966 == detector - backbone


def test_each_stage_has_its_own_threshold_and_box_weights():
    height = [40.0 * overlap for overlap in (0.55, 0.65, 0.75)]
    proposals = torch.tensor([[0.0, 0.0, 40.0, h] for h in height])
    heads = still(cascade(mask=False))
    sample = label_regions([proposals], [TARGET], OVERLAPS[0], 3)
    losses = heads.losses(maps(), sample, [TARGET], SIZES)

    def goal(overlap: float) -> float:
        """L1 of the deltas from a box of `overlap` of the height to the truth, unweighted."""
        return 10 * (1 - overlap) / 2 / overlap - 5 * math.log(overlap)

    expected = [
        1 * (goal(0.55) + goal(0.65) + goal(0.75)) / 3,
        2 * (goal(0.65) + goal(0.75)) / 3,
        3 * goal(0.75) / 3,
    ]
    for stage, value in enumerate(expected):
        assert losses[f"box_regression_{stage}"].item() == pytest.approx(value, rel=1e-4)
        assert losses[f"box_class_{stage}"].item() == pytest.approx(math.log(4), rel=1e-4)


def test_a_region_on_the_threshold_is_foreground_and_its_truth_is_the_one_it_overlaps_most():
    targets = Target(torch.cat((TRUTH, TRUTH / 2)), torch.tensor([1, 0]))
    regions = torch.tensor([[0.0, 0.0, 40.0, 28.0], [0.0, 0.0, 20.0, 19.0], [50.0, 50, 60, 60]])
    sample = label_regions([regions], [targets], 0.7, 3)
    assert sample.labels.tolist() == [1, 0, 3]
    assert sample.boxes[:2].tolist() == targets.boxes.tolist()


def test_later_stages_see_the_decoded_boxes_of_the_stage_before():
    heads = still(cascade(mask=False))
    say(heads, 0, [0.0] * 4, [0.0, 0.0, 0.0, 5 * math.log(2)])  # twice as high
    proposals = torch.tensor([[10.0, 10.0, 20.0, 20.0]])
    truth = Target(torch.tensor([[10.0, 5.0, 20.0, 25.0]]), torch.tensor([0]))
    sample = label_regions([proposals], [truth], OVERLAPS[0], 3)
    losses = heads.losses(maps(), sample, [truth], SIZES)
    assert [losses[f"box_regression_{s}"].item() for s in range(3)] == pytest.approx([0, 0, 0])
    assert sample.labels.tolist() == [0]
    say(heads, 0, [0.0] * 4, [0.0] * 4)  # now the overlap stays 0.5, too little for stage 1
    say(heads, 1, [0.0, 0.0, 0.0, 9.0], [0.0] * 4)
    losses = heads.losses(maps(), sample, [truth], SIZES)
    assert losses["box_class_1"].item() < 1e-3  # background was the right answer


def test_refined_boxes_are_clipped_and_dropped_without_area():
    rois = to_rois([torch.tensor([[50.0, 0.0, 60.0, 10.0], [0.0, 0.0, 10.0, 10.0]]), TRUTH])
    right = torch.tensor([[[10.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, 10.0, 0.0, 0.0]]])
    boxes = refined(right, rois, torch.tensor([[64, 64], [64, 64]]), CODERS[0])
    assert boxes[0].tolist() == [[60, 0, 64, 10], [0, 0, 10, 10]]
    assert boxes[1].tolist() == [[0, 40, 40, 64]]
    beyond = refined(right, rois, torch.tensor([[64, 60], [40, 64]]), CODERS[0])
    assert [len(b) for b in beyond] == [1, 0]


def test_dropped_regions_leave_the_later_losses_and_their_normaliser():
    heads = still(cascade(mask=False))
    proposals = torch.tensor([[0.0, 0.0, 40.0, 40.0], [60.0, 60.0, 64.0, 64.0]])
    say(heads, 0, [0.0] * 4, [10.0, 0.0, 0.0, 0.0])  # one width to the right: the second is outside
    counts = seen_by(heads)
    sample = label_regions([proposals], [TARGET], OVERLAPS[0], 3)
    losses = heads.losses(maps(), sample, [TARGET], SIZES)
    assert counts == [2, 1, 1]
    assert losses["box_class_1"].item() == pytest.approx(math.log(4))


def test_ground_truth_joins_once_and_nothing_is_drawn_again():
    heads = still(cascade(mask=False, roi_batch=8))
    counts = seen_by(heads)
    heads(maps(), [TRUTH.repeat(30, 1)], [TARGET], SIZES)
    assert counts == [2, 2, 2]  # a quarter of 8, ground truth among the candidates
    counts.clear()
    heads(maps(), [torch.zeros(0, 4)], [TARGET], SIZES)
    assert counts == [1, 1, 1]  # the ground truth, which is not added to the later stages again


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_maps_get_a_third_of_each_stages_gradient_and_parameters_all_of_it(stage):
    heads = still(cascade(mask=False)).train()
    pyramid = [m.requires_grad_() for m in maps()]
    proposals = torch.tensor([[0.0, 0.0, 40.0, 36.0], [0.0, 0.0, 30.0, 38.0], [5.0, 5.0, 60.0, 9]])
    nn.init.normal_(heads.box_predictor[stage].scores.weight)
    sample = label_regions([proposals], [TARGET], OVERLAPS[0], 3)
    loss = heads.losses(pyramid, sample, [TARGET], SIZES)[f"box_class_{stage}"]

    head, predictor = heads.box_head[stage], heads.box_predictor[stage]
    plain, _ = box_losses(
        *predictor(head(heads.pool(pyramid, sample.rois, 7))), sample, heads.options
    )
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    inputs = [pyramid[0], *head.parameters()]
    ours = torch.autograd.grad(loss, inputs)
    theirs = torch.autograd.grad(plain, inputs)
    torch.testing.assert_close(ours[0], theirs[0] / 3)
    assert ours[0].abs().max() > 0
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(mine, other)


def test_no_gradient_flows_through_the_refined_boxes():
    heads = cascade(mask=False).train()
    losses = heads(maps(), [TRUTH - 2], [TARGET], SIZES)
    later = losses["box_class_1"] + losses["box_regression_2"]
    earlier = list(heads.box_predictor[0].parameters())
    assert torch.autograd.grad(later, earlier, allow_unused=True) == (None,) * 4


def test_the_mask_head_learns_from_the_first_stages_sample_with_the_whole_gradient():
    heads = still(cascade()).train()
    pyramid = [m.requires_grad_() for m in maps()]
    regions = torch.tensor(
        [[0.0, 0.0, 40.0, 22.0], [50.0, 50.0, 60.0, 60.0]]
    )  # too low for stage 1
    sample = label_regions([regions], [TARGET], OVERLAPS[0], 3)
    loss = heads.losses(pyramid, sample, [TARGET], SIZES)["mask"]
    logits = heads.mask_head(heads.pool(pyramid, sample.rois[:1], 14))
    plain = mask_loss(logits, sample.labels[:1], torch.ones(1, 28, 28))
    assert loss.item() == pytest.approx(plain.item())
    torch.testing.assert_close(*(torch.autograd.grad(x, pyramid[0])[0] for x in (loss, plain)))


def test_scores_are_the_mean_over_the_stages_and_boxes_those_of_the_last():
    heads = still(cascade(score=0.0, detections=1)).eval()
    say(heads, 0, [9.0, 0.0, 0.0, 0.0], [10.0, 0.0, 0.0, 0.0])  # one width right
    say(heads, 1, [0.0, 9.0, 0.0, 0.0], [0.0, 20.0, 0.0, 0.0])  # one height down
    say(heads, 2, [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 15 * math.log(2), 0.0])  # twice as wide
    found = heads.detect(maps(), [torch.tensor([[0.0, 0.0, 10.0, 10.0]])], SIZES)[0]
    torch.testing.assert_close(found.boxes, torch.tensor([[5.0, 10.0, 25.0, 20.0]]))
    stages = torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0], [0, 4.0, 0, 0]]).softmax(dim=1)
    assert found.labels.tolist() == [1]
    assert found.scores.item() == pytest.approx(stages.mean(dim=0)[1].item())
    assert found.masks.shape == (1, 28, 28)


def test_evaluation_keeps_a_region_without_area_for_its_scores():
    heads = still(cascade(score=0.0, mask=False)).eval()
    say(heads, 0, [5.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0])  # out of the image
    counts = seen_by(heads)
    found = heads.detect(maps(), [torch.tensor([[40.0, 40.0, 60.0, 60.0]])], SIZES)[0]
    assert counts == [1, 1, 1]
    assert len(found.boxes) == 3
    assert heads.detect(maps(), [torch.zeros(0, 4)], SIZES)[0].boxes.shape == (0, 4)


def test_boxes_that_are_not_finite_stop_training_and_stay_where_they_were_in_evaluation():
    rois = to_rois([torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])])
    deltas = torch.zeros(2, 1, 4)
    deltas[1] = math.nan
    with pytest.raises(FloatingPointError, match="diverged"):
        refined(deltas, rois, SIZES, CODERS[0])
    boxes = torch.tensor([[1.0, 1.0, 2.0, 2.0], [math.nan] * 4])
    assert moved(rois, boxes).tolist() == [[0, 1, 1, 2, 2], [0, 5, 6, 7, 8]]


def test_the_first_stage_draws_as_the_plain_head_does():
    heads = cascade()
    proposals = [torch.rand(50, 4) * 20 + torch.tensor([0.0, 0.0, 20.0, 20.0])]
    torch.manual_seed(5)
    ours = heads.sample(proposals, [TARGET])
    torch.manual_seed(5)
    plain = sample_regions(proposals, [TARGET], 32, 3)
    assert torch.equal(ours.rois, plain.rois)
    assert torch.equal(ours.labels, plain.labels)


def test_a_recipe_refuses_a_cascade_under_mmdets_rules_with_a_way_out():
    assert HeadOptions(cascade=True).rules == "detectron2"
    with pytest.raises(ValidationError, match=r"head\.cascade .* set rules to detectron2"):
        HeadOptions(cascade=True, rules="mmdet")
