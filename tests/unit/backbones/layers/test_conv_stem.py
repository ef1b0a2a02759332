"""Sizes, normalisation and reach of the convolutional stem."""

import pytest
import torch

from backbones.layers.conv_stem import ConvStem, stage


def test_every_stride_is_returned_with_its_width():
    stride4, stride8, tokens = ConvStem(32)(torch.randn(2, 3, 64, 96))
    assert stride4.shape == (2, 8, 16, 24)
    assert stride8.shape == (2, 16, 8, 12)
    assert tokens.shape == (2, 32, 4, 6)
    assert ConvStem(32).channels == (8, 16)


def test_width_that_does_not_divide_by_eight_is_refused():
    with pytest.raises(ValueError, match="divides by 8, not 20"):
        ConvStem(20)


def test_stage_normalises_each_image_over_channels_and_space():
    conv, norm, _ = stage(3, 6)
    images = torch.randn(2, 3, 32, 32) * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1)
    normal = norm(conv(images))
    torch.testing.assert_close(normal.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(dim=(1, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)


def test_token_sees_a_bit_more_than_its_own_patch():
    # four 3x3 convolutions of stride 2 reach 1 + 2 + 4 + 8 = 15 pixels beyond a patch's corner
    stem = ConvStem(16)
    for module in stem.stages:
        module[1] = torch.nn.Identity()  # the norm would connect everything with everything
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    stem(images)[2][0, :, 2, 2].sum().backward()
    rows = images.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    assert (rows.min().item(), rows.max().item()) == (32 - 15, 32 + 15)
