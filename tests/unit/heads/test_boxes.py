import pytest
import torch
from torchvision.models.detection._utils import Matcher

from heads.boxes import Coder, clip, match


def test_boxes_are_clipped_to_the_true_size_of_their_own_image():
    boxes = torch.tensor([[-5.0, -5.0, 100.0, 100.0]]).expand(2, 1, 4)
    sizes = torch.tensor([[20, 30], [60, 50]])
    assert clip(boxes, sizes)[:, 0].tolist() == [[0, 0, 30, 20], [0, 0, 50, 60]]


def test_every_box_of_an_image_without_objects_is_background():
    matches = match(Matcher(0.7, 0.3, True), torch.zeros(0, 4), torch.rand(3, 4))
    assert matches.tolist() == [-1, -1, -1]


def test_a_threshold_itself_counts_and_ties_for_the_best_anchor_all_match():
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 5.0], [0.0, 5.0, 10.0, 10.0], [0.0, 0.0, 10.0, 3.0]])
    assert match(Matcher(0.5, 0.5), truth, boxes).tolist() == [0, 0, -1]  # 0.5 itself counts
    ties = match(Matcher(0.7, 0.3, allow_low_quality_matches=True), truth, boxes)
    assert ties.tolist() == [0, 0, -2]


def test_a_box_and_its_deltas_are_each_others_inverse():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 9.0, 8.0]])
    truth = torch.tensor([[1.0, 2.0, 14.0, 18.0], [4.0, 4.0, 9.0, 9.0]])
    coder = Coder((20.0, 20.0, 10.0, 10.0))
    torch.testing.assert_close(coder.decode(coder.encode(truth, boxes), boxes), truth)


def test_shrinking_is_limited_per_weight_and_for_every_class_only_if_asked():
    boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    deltas = torch.tensor([[[0.0, 0.0, -50.0, 0.0], [0.0, 0.0, 0.0, -1.0]]])
    free = Coder((1.0, 1.0, 1.0, 1.0)).decode(deltas, boxes)
    held = Coder((1.0, 1.0, 1.0, 1.0), limited_shrinking=True).decode(deltas, boxes)
    assert (free[0, 0, 2] - free[0, 0, 0]).item() < 1e-3
    assert (held[0, 0, 2] - held[0, 0, 0]).item() == pytest.approx(1.6, rel=1e-4)  # 16 / 1000
    assert torch.equal(free[0, 1], held[0, 1])
    weighted = Coder((10.0, 10.0, 5.0, 5.0), limited_shrinking=True).decode(deltas, boxes)
    assert (weighted[0, 0, 2] - weighted[0, 0, 0]).item() == pytest.approx(1.6, rel=1e-4)
