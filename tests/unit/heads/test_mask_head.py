import math

import pytest
import torch

from heads.instances import Target
from heads.mask_head import MaskHead, mask_loss, mask_truth
from heads.options import HeadOptions
from heads.roi_sampling import RegionSample

SMALL = HeadOptions(channels=8)


class Marked:
    """Fills each mask's first cell and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[list[float]]]] = []

    def rasterize(self, index, boxes, size):
        self.asked.append((index.tolist(), boxes.tolist()))
        masks = torch.zeros(len(index), size, size, dtype=torch.bool)
        masks[:, 0, 0] = True
        return masks


def regions(rois: list[list[float]], instances: list[int]) -> RegionSample:
    boxes = torch.tensor(rois).reshape(-1, 5)
    labels = torch.zeros(len(rois), dtype=torch.long)
    return RegionSample(boxes, labels, boxes[:, 1:], torch.tensor(instances, dtype=torch.long))


def test_masks_have_twice_the_side_of_the_regions_and_one_channel_per_class():
    assert MaskHead(8, 5, SMALL)(torch.randn(3, 8, 14, 14)).shape == (3, 5, 28, 28)


def test_loss_is_the_mean_over_the_pixels_of_the_true_class():
    logits = torch.zeros(2, 3, 28, 28)
    logits[0, 1], logits[1, 2] = 2.0, 2.0
    truth = torch.ones(2, 28, 28, dtype=torch.bool)
    assert mask_loss(logits, torch.tensor([1, 2]), truth).item() == pytest.approx(
        math.log1p(math.exp(-2))
    )


def test_each_image_rasterises_its_own_instances_once_and_in_order():
    one, two = Marked(), Marked()
    empty = torch.zeros(0, 4)
    targets = [Target(empty, empty[:, 0], masks) for masks in (one, None, two)]
    sample = regions([[0, 1, 2, 3, 4], [0, 2, 3, 4, 5], [2, 5, 6, 7, 8]], [3, 0, 1])
    masks = mask_truth(sample, targets)
    assert masks.shape == (3, 28, 28)
    assert one.asked == [([3, 0], [[1, 2, 3, 4], [2, 3, 4, 5]])]
    assert two.asked == [([1], [[5, 6, 7, 8]])]


def test_no_foreground_needs_no_masks():
    empty = torch.zeros(0, 4)
    assert mask_truth(regions([], []), [Target(empty, empty[:, 0])]).shape == (0, 28, 28)


def test_an_object_without_mask_is_refused_with_a_way_out():
    empty = torch.zeros(0, 4)
    with pytest.raises(ValueError, match=r"switch `head.mask` off"):
        mask_truth(regions([[0, 1, 2, 3, 4]], [0]), [Target(empty, empty[:, 0])])


@pytest.mark.parametrize("norm", ["bn", "syncbn", "ln", "gn", "none"])
def test_loss_without_foreground_is_zero_and_reaches_every_parameter(norm):
    head = MaskHead(8, 5, HeadOptions(channels=8, norm=norm)).train()
    before = {key: value.clone() for key, value in head.state_dict().items() if "running" in key}
    nothing = torch.zeros(0, dtype=torch.long)
    loss = mask_loss(head(torch.zeros(0, 8, 14, 14)), nothing, torch.zeros(0, 28, 28))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and p.grad.abs().sum() == 0 for p in head.parameters())
    assert all(torch.equal(head.state_dict()[key], value) for key, value in before.items())


def test_initial_scales_are_detectron2s():
    torch.manual_seed(0)
    head = MaskHead(64, 64, HeadOptions(channels=64))
    assert head.logits.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert head.up.weight.std().item() == pytest.approx((2 / (64 * 4)) ** 0.5, rel=0.05)
    for block in head.convs:
        assert block.conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert head.logits.bias.abs().max() == head.up.bias.abs().max() == 0
