import math

import pytest
import torch

from heads.mask_head import MaskHead, mask_loss
from heads.options import HeadOptions

SMALL = HeadOptions(channels=8)


def test_masks_have_twice_the_side_of_the_regions_and_one_channel_per_class():
    assert MaskHead(8, 5, SMALL)(torch.randn(3, 8, 14, 14)).shape == (3, 5, 28, 28)


def test_loss_is_the_mean_over_the_pixels_of_the_true_class():
    logits = torch.zeros(2, 3, 28, 28)
    logits[0, 1], logits[1, 2] = 2.0, 2.0
    truth = torch.ones(2, 28, 28, dtype=torch.bool)
    assert mask_loss(logits, torch.tensor([1, 2]), truth).item() == pytest.approx(
        math.log1p(math.exp(-2))
    )


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
