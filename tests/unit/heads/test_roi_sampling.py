import torch

from heads.instances import Target
from heads.roi_sampling import sample_regions

TRUTH = Target(
    torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]]), torch.tensor([2, 0])
)
NOTHING = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def test_ground_truth_boxes_are_proposals_too():
    sample = sample_regions([torch.zeros(0, 4)], [TRUTH], 8, classes=5)
    assert sample.rois[:, 1:].tolist() == TRUTH.boxes.tolist()
    assert sample.labels.tolist() == [2, 0]
    assert sample.matched_gt.tolist() == [0, 1]


def test_half_an_overlap_is_foreground_and_less_is_background():
    proposals = torch.tensor([[0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 4.9]])
    sample = sample_regions([proposals], [TRUTH], 100, classes=5)
    boxes = sample.rois[:, 1:].tolist()
    labels = {tuple(b): label for b, label in zip(boxes, sample.labels, strict=True)}
    assert labels[(0.0, 0.0, 10.0, 5.0)] == 2
    assert len(labels) == 4
    assert sorted(sample.labels.tolist()) == [0, 2, 2, 5]  # background is the number of classes


def test_at_most_a_quarter_is_foreground():
    proposals = torch.cat((TRUTH.boxes[:1].repeat(50, 1), torch.rand(50, 4) + 500))
    sample = sample_regions([proposals], [TRUTH], 16, classes=5)
    assert (sample.labels < 5).sum() == 4
    assert len(sample.labels) == 16


def test_an_image_without_objects_gives_background_only():
    sample = sample_regions([torch.rand(20, 4), torch.rand(3, 4)], [NOTHING, TRUTH], 8, classes=5)
    assert (sample.labels[sample.rois[:, 0] == 0] == 5).all()
    assert (sample.labels[sample.rois[:, 0] == 1] < 5).sum() == 2


def test_foreground_keeps_box_and_instance_of_its_own_image():
    other = Target(torch.tensor([[5.0, 5.0, 9.0, 9.0]]), torch.tensor([4]))
    sample = sample_regions([torch.zeros(0, 4)] * 2, [TRUTH, other], 8, classes=5)
    foreground = sample.select(sample.labels < 5)
    assert foreground.boxes.tolist() == [*TRUTH.boxes.tolist(), *other.boxes.tolist()]
    assert foreground.matched_gt.tolist() == [0, 1, 0]
