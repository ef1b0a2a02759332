import pytest
import torch
from torch import nn

from backbones.layers.norm import ChannelLayerNorm, make_norm


def test_channel_layer_norm_normalises_every_position_over_its_channels():
    torch.manual_seed(0)
    norm = ChannelLayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    maps = torch.randn(2, 6, 3, 5)
    mean = maps.mean(dim=1, keepdim=True)
    variance = maps.var(dim=1, keepdim=True, unbiased=False)
    expected = (maps - mean) / (variance + 1e-6).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(maps), expected)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bn", nn.BatchNorm2d),
        ("syncbn", nn.SyncBatchNorm),
        ("ln", ChannelLayerNorm),
        ("gn", nn.GroupNorm),
    ],
)
def test_each_norm_name_makes_its_module(name, kind):
    norm = make_norm(name, 64)
    assert type(norm) is kind
    assert sum(p.numel() for p in norm.parameters()) == 128


def test_no_norm_is_no_module():
    assert make_norm("none", 64) is None


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (48, 16), (20, 4), (7, 1)])
def test_group_norm_has_32_groups_or_the_greatest_common_divisor(channels, groups):
    assert make_norm("gn", channels).num_groups == groups


def test_batch_norm_has_detectron2s_eps_and_momentum():
    norm = make_norm("bn", 8)
    assert (norm.eps, norm.momentum) == (1e-5, 0.1)
