"""What `head.rules: mmdet` changes; the other head tests hold detectron2's side."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from heads.box_head import BoxHead
from heads.boxes import match
from heads.instances import Target
from heads.mask_head import MaskHead
from heads.options import HeadOptions
from heads.roi_heads import RoIHeads
from heads.roi_sampling import sample_regions
from heads.rpn import RPN, AnchorSample, on_canvas, rpn_losses, sample_anchors
from heads.rules import DETECTRON2, MMDET, RULES

STRIDES = (4, 8, 16, 32, 64)
VIT_ADAPTER = HeadOptions(rpn_convs=1, box_head="2fc", norm="none", rules="mmdet")
NOTHING = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def only(**changes) -> object:
    """Detectron2's rules with some of mmdet's."""
    return dataclasses.replace(DETECTRON2, **changes)


def test_the_two_rule_sets_differ_in_every_field():
    names = [field.name for field in dataclasses.fields(DETECTRON2)]
    assert len(names) >= 7
    assert [n for n in names if getattr(DETECTRON2, n) == getattr(MMDET, n)] == []
    assert RULES == {"detectron2": DETECTRON2, "mmdet": MMDET}


def test_parameter_counts_of_vit_adapters_head_are_the_measured_ones():
    with torch.device("meta"):
        rpn = RPN(256, STRIDES, VIT_ADAPTER)
        heads = RoIHeads(256, STRIDES[:4], 80, VIT_ADAPTER)

    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    assert count(rpn) == 593_935
    assert count(heads.box_head) == 13_895_680
    assert count(heads.box_predictor) == 411_025
    assert count(heads.mask_head) == 2_643_280
    # FPN, RPN and heads in millions, for the widths of T, S, B and L: measured on the official code
    for width, measured in ((192, 20.102), (384, 20.298), (768, 20.692), (1024, 20.954)):
        pyramid = 4 * (width * 256 + 256) + 4 * (256 * 256 * 9 + 256)
        assert round((pyramid + count(rpn) + count(heads)) / 1e6, 3) == measured


def assigned(truth, boxes, high, low, least) -> list[int]:
    """The rule written out box by box: -1 background, -2 neither, else the ground-truth box."""
    overlaps = box_iou(truth, boxes)
    result = []
    for n in range(len(boxes)):
        column = overlaps[:, n]
        best = int(column.argmax())
        result.append(best if column[best] >= high else -1 if column[best] < low else -2)
    for g in range(len(truth)):
        for n in range(len(boxes)):
            if overlaps[g, n] == overlaps[g].max() >= least:
                result[n] = g
    return result


@pytest.mark.parametrize(("high", "low", "least"), [(0.7, 0.3, 0.3), (0.5, 0.5, 0.5)])
def test_low_quality_matches_equal_the_rule_written_out_box_by_box(high, low, least):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(20):
        corners = torch.randint(0, 12, (40, 2), generator=generator).float()
        sides = torch.randint(4, 16, (40, 2), generator=generator).float()
        boxes = torch.cat((corners, corners + sides), dim=1)  # whole pixels, so that ties occur
        expected = assigned(boxes[:6], boxes[6:], high, low, least)
        matcher = Matcher(high, low, allow_low_quality_matches=False)
        assert match(matcher, boxes[:6], boxes[6:], least).tolist() == expected
        seen |= set(expected)
    assert seen >= {-1, 0, 5}


def test_a_truth_takes_its_best_anchor_from_the_truth_that_the_anchor_overlaps_more():
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]])
    anchors = torch.tensor([[0.0, 0.0, 10.0, 9.8], [0.0, 0.0, 10.0, 10.0]])
    kept = sample_anchors(anchors, [truth], 8)
    taken = sample_anchors(anchors, [truth], 8, only(rpn_min_pos_iou=0.3))
    assert kept.boxes.tolist() == [truth[0].tolist(), truth[0].tolist()]
    assert taken.boxes.tolist() == [truth[1].tolist(), truth[0].tolist()]


def test_the_best_anchor_is_no_positive_below_the_least_iou():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    low = torch.tensor([[0.0, 0.0, 10.0, 2.9]])
    assert sample_anchors(anchors, [low], 8).positive.tolist() == [0]
    rules = only(rpn_min_pos_iou=0.3)
    assert sample_anchors(anchors, [low], 8, rules).positive.tolist() == []
    enough = torch.tensor([[0.0, 0.0, 10.0, 3.1]])
    assert sample_anchors(anchors, [enough], 8, rules).positive.tolist() == [0]


def test_anchors_beyond_an_images_own_padding_take_no_part():
    rpn = RPN(8, STRIDES, VIT_ADAPTER.model_copy(update={"channels": 8, "rpn_batch": 100_000}))
    grids = [(-(-128 // s), -(-128 // s)) for s in STRIDES]
    anchors = torch.cat(rpn.anchors(grids))
    sizes = torch.tensor([[128, 128], [60, 33]])  # padded to 64 x 64 on a canvas of 128 x 128
    usable = on_canvas(anchors, sizes)
    assert usable[0].all()
    assert usable[1].sum() == 3 * sum((-(-64 // s)) ** 2 for s in STRIDES)
    truth = Target(torch.tensor([[20.0, 20.0, 33.0, 60.0]]), torch.tensor([0]))
    sample = rpn.sample(anchors, [NOTHING, truth], sizes)
    drawn = torch.cat((sample.positive, sample.negative))
    second = drawn[drawn >= len(anchors)] - len(anchors)
    assert len(sample.positive) >= 1
    assert usable[1][second].all()
    assert len(drawn) - len(second) == len(anchors)


def test_rpn_losses_are_divided_by_the_anchors_drawn_and_each_kind_counts_once_at_least():
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    sample = AnchorSample(
        torch.tensor([0]), torch.tensor([1, 2, 3]), torch.tensor([[1.0, 0.0, 11.0, 10.0]])
    )
    logits, deltas = torch.zeros(2, 2), torch.zeros(2, 2, 4)
    objectness, box = rpn_losses(
        logits, deltas, anchors, sample, HeadOptions(), only(mean_of_sampled=True)
    )
    # one positive and one negative in the first image, none and two in the second: 1 + 1 + 1 + 2
    assert objectness.item() == pytest.approx(4 * math.log(2) / 5)
    assert box.item() == pytest.approx(0.1 / 5)


def test_a_truth_takes_its_best_proposal_and_joins_the_sample_as_itself():
    twice = torch.tensor([0.0, 0.0, 10.0, 10.0]).repeat(2, 1)  # one box, two objects
    target = Target(twice, torch.tensor([3, 1]))
    proposals = torch.tensor([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 6.0], [0.0, 0.0, 10.0, 2.0]])
    first = sample_regions([proposals], [target], 100, 5)
    assert first.labels.tolist() == [3, 3, 5, 3, 3]  # the first of equal objects
    taken = sample_regions([proposals], [target], 100, 5, only(roi_min_pos_iou=0.5))
    assert taken.labels.tolist() == [1, 3, 5, 3, 1]
    assert taken.matched_gt.tolist() == [1, 0, 0, 0, 1]


def test_truth_without_proposals_and_proposals_without_truth_are_sampled():
    target = Target(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([2]))
    sample = sample_regions([torch.zeros(0, 4), torch.rand(3, 4)], [target, NOTHING], 8, 5, MMDET)
    assert sample.labels.tolist() == [2, 5, 5, 5]


def test_the_option_reaches_the_samples_and_losses_of_the_same_weights():
    small = HeadOptions(channels=8, fc_channels=8, rpn_batch=2000)
    parts = {}
    for name in RULES:
        torch.manual_seed(0)
        options = small.model_copy(update={"rules": name})
        parts[name] = RPN(8, STRIDES, options), RoIHeads(8, STRIDES[:4], 5, options)
    maps = [torch.ones(1, 8, max(64 // s, 1), max(64 // s, 1)) for s in STRIDES]
    target = Target(torch.tensor([[4.0, 4.0, 34.0, 34.0]]).repeat(2, 1), torch.tensor([0, 1]))
    losses, labels = {}, {}
    for name, (rpn, heads) in parts.items():
        _, losses[name] = rpn(maps, torch.tensor([[64, 64]]), [target])
        labels[name] = heads.sample([target.boxes[:1]], [target]).labels.tolist()
    # all but the anchors between the thresholds are drawn, fewer than rpn_batch
    assert losses["mmdet"]["rpn_objectness"] > 1.5 * losses["detectron2"]["rpn_objectness"]
    assert labels == {"detectron2": [0, 0, 0], "mmdet": [1, 0, 1]}


def test_proposals_and_detections_of_a_shrinking_head_keep_a_width():
    options = VIT_ADAPTER.model_copy(update={"channels": 8, "fc_channels": 8, "score": 0.0})
    maps = [torch.zeros(1, 8, max(64 // s, 1), max(64 // s, 1)) for s in STRIDES]
    sizes = torch.tensor([[64, 64]])
    rpn = RPN(8, STRIDES, options).eval()
    heads = RoIHeads(8, STRIDES[:4], 3, options).eval()
    rpn.deltas.bias.data[2::4] = -50.0
    heads.box_predictor.deltas.bias.data[2::4] = -500.0
    with torch.no_grad():
        proposals, _ = rpn(maps, sizes)
        boxes = torch.tensor([[0.0, 0.0, 62.5, 60.0]])
        found = heads.detect(maps[:-1], [boxes], sizes)
    inside = proposals[0].boxes[proposals[0].boxes[:, 0] > 0]  # not cut by the border
    widths = inside[:, 2] - inside[:, 0]
    # the narrowest anchor, of 32 px and two to one, becomes 16/1000 as wide
    assert widths.min().item() == pytest.approx(32 / math.sqrt(2) * 0.016, abs=1e-3)
    assert len(found[0].boxes) >= 1
    assert (found[0].boxes[:, 2] - found[0].boxes[:, 0]).min().item() == pytest.approx(1, rel=1e-3)


def test_linear_layers_start_xavier_uniform_and_mask_logits_as_other_convolutions():
    torch.manual_seed(0)
    options = HeadOptions(channels=64, fc_channels=128, box_head="2fc", rules="mmdet")
    head = BoxHead(16, options)
    for layer, (fan_in, fan_out) in zip(head.fcs, ((16 * 49, 128), (128, 128)), strict=True):
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert bound * 0.99 < layer.weight.abs().max().item() <= bound
        assert layer.bias.abs().max() == 0
    logits = MaskHead(64, 64, options).logits
    assert logits.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)
    assert logits.bias.abs().max() == 0
