"""The stems: sizes, normalisation and reach of the plain one; timm's ConvNeXt in the other."""

import pytest
import timm
import torch
from detectors import SMALL_MIMDET
from timm.models.convnext import ConvNeXt

from backbones.key_maps.rename import rename
from backbones.key_maps.timm_classifiers import convnext_to_stem
from backbones.mimdet import MIMDet, MIMDetOptions
from backbones.mimdet.stem import ConvNeXtStem, ConvStem, conv_stage
from mimdet_cli.weights.load import load_weights

SMALL = {**SMALL_MIMDET, "stem": "convnext"}


def test_every_stride_is_returned_with_its_width():
    stride4, stride8, tokens = ConvStem(32)(torch.randn(2, 3, 64, 96))
    assert stride4.shape == (2, 8, 16, 24)
    assert stride8.shape == (2, 16, 8, 12)
    assert tokens.shape == (2, 32, 4, 6)
    assert ConvStem(32).channels == (8, 16)


def test_width_that_does_not_divide_by_eight_is_refused():
    with pytest.raises(ValueError, match="divisible by 8, not 20"):
        ConvStem(20)


def test_stage_normalises_each_image_over_channels_and_space():
    conv, norm, _ = conv_stage(3, 6)
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


def classifier(width=32):
    """A ConvNeXt whose first three stages are those of a stem for tokens of `width`."""
    torch.manual_seed(0)
    dims = (width // 4, width // 2, width, width)
    model = ConvNeXt(dims=dims, depths=(3, 3, 2, 1), num_classes=5, ls_init_value=0.5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("width", "count"), [(768, 6_010_560), (1024, 10_635_520)])
def test_stem_has_as_many_parameters_as_documented(width, count):
    with torch.device("meta"):
        stem = ConvNeXtStem(width)
    assert parameters(stem) == count
    assert stem.channels == (width // 4, width // 2)


def test_two_stages_are_those_of_convnext_large():
    with torch.device("meta"):
        stem, large = ConvNeXtStem(768), timm.create_model("convnext_large")
    stages = [(stem.patch, large.stem), *zip(stem.stages, large.stages, strict=False)]
    assert len(stages) == 3
    assert sum(parameters(ours) for ours, _ in stages) == 4_829_376
    for ours, theirs in stages:
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def test_every_key_of_convnext_large_fills_the_stem_of_base_or_is_dropped_by_rule():
    with torch.device("meta"):
        stem, large = ConvNeXtStem(768), timm.create_model("convnext_large")
    renamed = rename(large.state_dict(), convnext_to_stem())
    assert not renamed.unknown
    ours = {f"stem.{key}": x.shape for key, x in stem.state_dict().items()}
    assert {key: x.shape for key, x in renamed.kept.items()} == ours
    assert len(ours) == 66
    assert len(renamed.dropped) == 278


def test_maps_and_tokens_are_timms():
    model = classifier()
    stem = ConvNeXtStem(32).eval()
    kept = rename(model.state_dict(), convnext_to_stem()).kept
    stem.load_state_dict({key.removeprefix("stem."): x for key, x in kept.items()})
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        ours = stem(images)
        maps = model.forward_intermediates(images, indices=[0, 1], intermediates_only=True)
        theirs = [*maps, model.stages[2].downsample(maps[1])]
    assert [tuple(x.shape[1:]) for x in ours] == [(8, 16, 24), (16, 8, 12), (32, 4, 6)]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_of_the_stem_load_beside_those_of_the_encoder(tmp_path):
    path = tmp_path / "convnext.pth"
    model = classifier()
    torch.save({"model": model.state_dict()}, path)
    detector = torch.nn.Module()
    detector.backbone = MIMDet(MIMDetOptions(**SMALL))
    before = {key: x.clone() for key, x in detector.backbone.state_dict().items()}
    key_map = detector.backbone.key_maps["convnext_stem"]
    report = load_weights(detector, key_map, path, "convnext_stem", 0.0)
    after = detector.backbone.state_dict()
    assert report.share == 1.0
    assert not report.missing
    assert {key.split(".")[0] for key in report.loaded} == {"stem"}
    assert {key.split(".")[0] for key in report.fresh} == {"encoder", "decoder", "fpn"}
    assert sorted(set(report.dropped.values())) == [
        "images are not classified",
        "the encoder replaces the later stages",
    ]
    assert torch.equal(after["stem.to_tokens.1.weight"], model.stages[2].downsample[1].weight)
    for key in report.fresh:
        assert torch.equal(after[key], before[key])


def test_random_stem_starts_with_convnexts_values():
    torch.manual_seed(0)
    stem = ConvNeXtStem(128)
    block = stem.stages[1].blocks[0]
    assert torch.equal(block.gamma, torch.full((64,), 1e-6))
    # 16,384 normal numbers: their spread is within 2 % of its expectation
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not block.mlp.fc1.bias.any()
    assert not stem.patch[0].bias.any()
