import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from heads.cascade import CascadeHeads
from heads.ensemble import View, merge
from heads.mask_head import of_class
from heads.options import HeadOptions
from heads.pooling import to_rois
from heads.roi_heads import Candidates, RegionHeads, RoIHeads

STRIDES = (4, 8, 16, 32)
CLASSES = 3
SMALL = HeadOptions(channels=8, fc_channels=16, norm="none", score=0.2)
SIZES = torch.tensor([[64, 64], [48, 64]])


class Told(RoIHeads):
    """Its box heads return the given answers, one per pass, for one image."""

    def tell(self, *answers: Candidates) -> "Told":
        self.answers = list(answers)
        return self

    def candidates(self, maps, proposals, sizes):
        return [self.answers.pop(0)]


def told(*answers: Candidates, **options) -> Told:
    torch.manual_seed(0)
    return Told(8, STRIDES, CLASSES, SMALL.model_copy(update=options)).tell(*answers)


def candidates(*found: tuple[list[float], int, float]) -> Candidates:
    """Regions with one box for all classes, their class and its probability."""
    scores = torch.zeros(len(found), CLASSES + 1)
    for row, (_, label, score) in zip(scores, found, strict=True):
        row[label], row[-1] = score, 1 - score
    return Candidates(scores, torch.tensor([box for box, _, _ in found]).view(-1, 1, 4))


def views(count: int, images: int = 2) -> list[View]:
    """Passes with other maps and other proposals each."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        maps = [torch.randn(images, 8, 64 // s, 64 // s, generator=generator) for s in STRIDES]
        corners = torch.rand(images, 12, 2, generator=generator) * 30
        sides = torch.rand(images, 12, 2, generator=generator) * 20 + 8
        found.append(View(maps, list(torch.cat((corners, corners + sides), dim=2))))
    return found


def trained(kind: type[RegionHeads], **options) -> RegionHeads:
    """Random heads whose predictors say something else for every region."""
    torch.manual_seed(0)
    heads = kind(8, STRIDES, CLASSES, SMALL.model_copy(update=options))
    for name, parameter in heads.named_parameters():
        if name.endswith(("scores.weight", "deltas.weight", "logits.weight")):
            torch.nn.init.normal_(parameter, std=0.5)
    return heads


KINDS = [RoIHeads, CascadeHeads]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [True, False])
@torch.no_grad()
def test_equal_passes_give_the_detections_of_one_pass(kind, mask):
    heads, (view,) = trained(kind, mask=mask), views(1)
    one = heads.detect(view.maps, view.proposals, SIZES)
    assert min(len(found.boxes) for found in one) >= 3
    for together, alone in zip(merge(heads, [view] * 4, SIZES), one, strict=True):
        assert torch.equal(together.boxes, alone.boxes)
        assert torch.equal(together.scores, alone.scores)
        assert torch.equal(together.labels, alone.labels)
        if mask:
            torch.testing.assert_close(together.masks, alone.masks)
        else:
            assert together.masks is None


def by_hand(heads: RegionHeads, passes: list[View], image: int) -> list[tuple]:
    """(score, label, box) of one image: greedy suppression over all passes, class by class."""
    pooled = []
    for view in passes:
        one = heads.candidates(view.maps, view.proposals, SIZES)[image]
        for scores, boxes in zip(one.scores, one.boxes, strict=True):
            boxes = boxes.expand(CLASSES, 4)
            pooled += [
                (float(scores[k]), k, boxes[k])
                for k in range(CLASSES)
                if scores[k] > heads.options.score
            ]
    kept: list[tuple] = []
    for score, label, box in sorted(pooled, key=lambda entry: -entry[0]):
        rivals = [other for _, k, other in kept if k == label]
        if all(box_iou(box[None], other[None]) <= heads.options.nms for other in rivals):
            kept.append((score, label, box))
    return kept[: heads.options.detections]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_detections_are_those_of_the_written_out_pooling(kind):
    heads, passes = trained(kind, detections=9), views(3)
    merged = merge(heads, passes, SIZES)
    for image, found in enumerate(merged):
        reference = by_hand(heads, passes, image)
        assert len(reference) == 9
        assert found.scores.tolist() == [score for score, _, _ in reference]
        assert found.labels.tolist() == [label for _, label, _ in reference]
        assert torch.equal(found.boxes, torch.stack([box for _, _, box in reference]))


@torch.no_grad()
def test_masks_are_the_mean_over_the_passes_maps_at_the_final_boxes():
    heads, passes = trained(RoIHeads), views(3)
    merged = merge(heads, passes, SIZES)
    for image, found in enumerate(merged):
        rois = to_rois([found.boxes]) + torch.tensor([image, 0, 0, 0, 0])
        of_each = [
            of_class(heads.predict_masks(heads.mask_head, view.maps, rois), found.labels).sigmoid()
            for view in passes
        ]
        # pooling the regions of one image alone changes the order of sums only
        torch.testing.assert_close(found.masks, sum(of_each) / 3)
        assert not torch.allclose(of_each[0], of_each[1], atol=1e-3)


def run(heads: Told) -> tuple[Tensor, Tensor, Tensor]:
    passes = views(len(heads.answers), images=1)
    with torch.no_grad():
        (found,) = merge(heads, passes, SIZES[:1])
    return found.boxes, found.scores, found.labels


HERE, NEAR, THERE = [0.0, 0, 20, 20], [0.0, 0, 20, 19], [30.0, 30, 50, 50]


def test_box_that_one_pass_alone_finds_survives_with_its_score():
    heads = told(candidates((HERE, 0, 0.9)), candidates((THERE, 0, 0.4)))
    boxes, scores, labels = run(heads)
    assert boxes.tolist() == [HERE, THERE]
    assert scores.tolist() == pytest.approx([0.9, 0.4])
    assert labels.tolist() == [0, 0]


def test_of_overlapping_boxes_the_best_survives_unchanged():
    boxes, scores, _ = run(told(candidates((HERE, 0, 0.5)), candidates((NEAR, 0, 0.8))))
    assert boxes.tolist() == [NEAR]
    assert scores.tolist() == pytest.approx([0.8])


def test_boxes_of_different_classes_do_not_suppress_each_other():
    _, _, labels = run(told(candidates((HERE, 0, 0.5)), candidates((HERE, 1, 0.8))))
    assert labels.tolist() == [1, 0]


def test_score_threshold_and_number_of_detections_hold_for_the_pool():
    answers = candidates((HERE, 0, 0.9), (THERE, 1, 0.19)), candidates((THERE, 2, 0.8))
    assert run(told(*answers))[2].tolist() == [0, 2]
    assert run(told(*answers, detections=1))[2].tolist() == [0]


def test_image_without_detections_has_none_after_merging():
    boxes, _, _ = run(told(candidates(), candidates()))
    assert boxes.shape == (0, 4)
