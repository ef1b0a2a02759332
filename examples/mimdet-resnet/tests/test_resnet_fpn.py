"""ResNetFPN keeps mimdet's promises, and is torchvision's ResNet to the last bit."""

import pytest
import torch
from mimdet_resnet import ResNetFPN, ResNetFPNOptions
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from mimdet_cli.plugin_api import Drop, promises


def built(**options: object) -> ResNetFPN:
    torch.manual_seed(0)
    return ResNetFPN(ResNetFPNOptions.model_validate(options))


@pytest.mark.parametrize("promise", promises())
def test_resnet_fpn_keeps_the_promise_of(promise):
    promise.check(ResNetFPN)


def test_resnet_with_frozen_norms_and_stages_lets_gradients_reach_what_learns():
    gradients = next(promise for promise in promises() if promise.name == "gradients")
    gradients.check(ResNetFPN, {"norm": "frozen_bn", "frozen_stages": 1})


@pytest.mark.parametrize("depth", [18, 50])
def test_stages_are_those_of_torchvision_with_the_same_weights(depth):
    theirs = get_model(f"resnet{depth}").eval()
    ours = built(depth=depth, norm="bn", channels=8).eval()
    rules = ours.key_maps["torchvision"].rules
    assert isinstance(rules["fc.{rest}"], Drop)
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.body.load_state_dict(state)
    taken = create_feature_extractor(theirs, [f"layer{i}" for i in range(1, 5)])
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        expected = ours.fpn(list(taken(images).values()))
        found = ours(images, torch.tensor([[64, 96]]))
    for level, one in zip(found.values(), expected, strict=True):
        assert torch.equal(level, one)


@pytest.mark.parametrize(("count", "learning"), [(-1, "body.conv1"), (1, "body.layer2")])
def test_frozen_stages_are_the_first_ones(count, learning):
    model = built(depth=18, norm="bn", frozen_stages=count)
    first = next(name for name, p in model.named_parameters() if p.requires_grad)
    assert first.startswith(learning)


def test_batch_norms_of_frozen_stages_keep_their_statistics_in_training():
    model = built(depth=18, norm="bn", frozen_stages=1).train()
    model(torch.randn(2, 3, 64, 64), torch.tensor([[64, 64]] * 2))
    assert not model.body.bn1.running_mean.any()
    assert not model.body.layer1[0].bn1.running_mean.any()
    assert model.body.layer2[0].bn1.running_mean.any()


def test_depth_rises_by_one_from_block_to_block():
    model = built(depth=50)
    assert model.depth == 17
    names = {
        "body.conv1.weight": 0,
        "body.layer1.0.conv1.weight": 1,
        "body.layer1.2.conv3.weight": 3,
        "body.layer2.0.downsample.0.weight": 4,
        "body.layer4.2.conv3.weight": 16,
        "fpn.output.0.conv.weight": 17,
    }
    assert {name: model.depth_of(name) for name in names} == names
