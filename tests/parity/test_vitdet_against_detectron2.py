"""ViTDet against detectron2, through the public way of loading a checkpoint.

Tolerances, all for fp32 sums in another order: features and logits 2e-4 of the largest value,
boxes 0.02 px, scores 1e-3, losses 1e-4, gradients 5e-3 in the L2 norm.
"""

import pytest
import torch
from detectors import detector_on
from golden import (
    FIXTURES,
    LOSSES,
    PIXEL_MEAN,
    PIXEL_STD,
    check_gradients,
    close,
    images,
    read,
    replay,
    table,
    whole,
)

from backbones.key_maps.rename import KeyMap, rename
from backbones.vitdet import ViTDet, ViTDetOptions, by_offset
from heads.key_maps import DETECTRON2_HEAD
from heads.options import HeadOptions
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.engine.optim import rates
from mimdet_cli.evaluation.paste import to_result
from mimdet_cli.recipe.schema import Optimizer
from mimdet_cli.weights.load import load_weights

SMALL = {
    "width": 96, "depth": 4, "heads": 3, "window": 5, "global_blocks": (1, 3), "drop_path": 0.0,
    "image_size": 256, "channels": 32,
}  # fmt: skip
HEAD = HeadOptions(
    norm="ln", channels=32, fc_channels=64, rpn_batch=64, rpn_pre_nms_train=300,
    rpn_pre_nms_test=200, rpn_post_nms_train=150, rpn_post_nms_test=100, roi_batch=64,
    detections=12,
)  # fmt: skip
CASES = {"case_sq256": None, "case_ns_div32": None, "case_ns_squarepad352": 352}
FULL = {
    "vitdet_b": ViTDetOptions(),
    "vitdet_l": ViTDetOptions(width=1024, depth=24, heads=16, drop_path=0.4),
}
LAYER_DECAY = {"vitdet_b": 0.7, "vitdet_l": 0.8}


def small(square=None):
    return ViTDet(ViTDetOptions(**SMALL, square=square))


def with_head(backbone):
    return detector_on(backbone, 5, HEAD, PIXEL_MEAN, PIXEL_STD)


def full_size(name):
    with torch.device("meta"):
        return detector_on(ViTDet(FULL[name]), 80, HeadOptions(norm="ln"))


def full_map(backbone):
    return KeyMap({**backbone.key_maps["detectron2_vitdet"].rules, **DETECTRON2_HEAD})


def released_detector(square, tmp_path):
    """Our detector, filled from a `.pth` in detectron2's layout."""
    path = tmp_path / "released.pth"
    torch.save({"model": read(whole("mimdet_vitdet/vitdet.weights.safetensors"))}, path)
    detector = with_head(small(square))
    key_map = detector.backbone.key_maps["detectron2_vitdet"]
    report = load_weights(detector, key_map, path, "detectron2_vitdet", 0.0)
    assert report.share == 1.0
    assert not report.missing
    return detector


def test_the_committed_cut_gives_detectron2s_blocks_and_pyramid():
    run = read(FIXTURES / "vitdet_blocks.safetensors")
    backbone = small().eval()
    weights = {key: x for key, x in run.items() if key.startswith("backbone.")}
    renamed = rename(weights, backbone.key_maps["detectron2_vitdet"])
    assert len(renamed.kept) == len(weights) > 40
    kept = {key.removeprefix("backbone."): x for key, x in renamed.kept.items()}
    backbone.load_state_dict({**backbone.state_dict(), **kept})
    with torch.no_grad():
        last = backbone.blocks[3](backbone.blocks[2](run["vit.block1"]))
        maps = backbone.pyramid(run["vit.last_feat"])
    close(last.permute(0, 3, 1, 2), run["vit.last_feat"])
    close(maps[1][:, :, :8], run["fpn.p3"])
    close(maps[2], run["fpn.p4"])
    close(maps[3], run["fpn.p5"])


@pytest.mark.parametrize(("case", "square"), CASES.items())
def test_every_map_of_the_backbone_equals_detectron2s(case, square, tmp_path):
    run = read(whole(f"mimdet_vitdet/vitdet.{case}.safetensors"))
    detector = released_detector(square, tmp_path).eval()
    backbone, seen = detector.backbone, {}
    parts = {"vit.patch_embed": backbone.patch_embed}
    parts |= {f"vit.block{i}": block for i, block in enumerate(backbone.blocks)}
    for name, part in parts.items():
        part.register_forward_hook(
            lambda module, inputs, output, name=name: seen.update({name: output})
        )
    batch, sizes = detector.prepare(images(run))
    assert batch.shape[2:] == tuple(run["in.padded_hw"])
    with torch.no_grad():
        maps = backbone(batch, sizes)
    assert len(seen) == 5
    for name, ours in seen.items():
        close(ours, run[name])
    for name in ("p2", "p3", "p4", "p5"):
        close(maps[name], run[f"fpn.{name}"])
    for axis in "hw":
        stored = run[f"vit.block1.rel_pos_{axis}_used"]
        side = len(stored)
        close(by_offset(getattr(backbone.blocks[1].attn, f"rel_pos_{axis}"), side), stored)


def test_detections_and_pasted_masks_equal_detectron2s(tmp_path):
    run = read(whole("mimdet_vitdet/vitdet.det_eval.safetensors"))
    detector = released_detector(352, tmp_path).eval()
    with torch.no_grad():
        found = detector(images(run))
    for i, detections in enumerate(found):
        assert torch.equal(detections.labels, run[f"det_{i}.classes"])
        assert (detections.boxes - run[f"det_{i}.boxes"]).abs().max() <= 0.02
        close(detections.scores, run[f"det_{i}.scores"], 1e-3)
        size = tuple(run["in.image_sizes"][i].tolist())
        result = to_result(detections, i, size, tuple(run["in.output_sizes"][i].tolist()))
        theirs = run[f"post_{i}.masks"].bool()
        assert len(result.rles) == len(theirs) > 0
        for rle, mask in zip(result.rles, theirs, strict=True):
            assert (torch.from_numpy(to_bitmap(rle)) != mask).sum() <= 10


@pytest.mark.parametrize("recompute", [False, True])
def test_five_losses_and_all_gradients_equal_detectron2s(recompute, tmp_path):
    run = read(whole("mimdet_vitdet/vitdet.det_train.safetensors"))
    detector = released_detector(352, tmp_path).train()
    options = detector.backbone.options
    detector.backbone.options = options.model_copy(update={"checkpoint_activations": recompute})
    losses = replay(detector, run)
    assert losses.keys() == LOSSES.keys()
    for ours, theirs in LOSSES.items():
        assert losses[ours].item() == pytest.approx(run[f"loss.{theirs}"].item(), rel=1e-4)
    sum(losses.values()).backward()
    grads = read(whole("mimdet_vitdet/vitdet.det_train_grads.safetensors"))
    theirs = rename(grads, full_map(detector.backbone))
    assert not theirs.unknown
    ours = {name: parameter.grad for name, parameter in detector.named_parameters()}
    assert ours.keys() == theirs.kept.keys()
    check_gradients(ours, theirs.kept)


def test_a_mae_checkpoint_fills_the_vit_and_nothing_else(tmp_path):
    stored = read(whole("mimdet_vitdet/mae.weights.safetensors"))
    path = tmp_path / "mae.pth"
    torch.save({"model": stored}, path)
    detector = with_head(small())  # its positions are stored on 14 x 14 cells, MAE's on 6 x 6
    report = load_weights(detector, detector.backbone.key_maps["mae_encoder"], path, "mae", 0.0)
    assert report.resized == ("pos_embed",)
    assert all(key.startswith(("pyramid.", "blocks.")) for key in report.fresh)
    assert len([key for key in report.fresh if "rel_pos" in key]) == 8
    dropped = {key.split(".")[0] for key in report.dropped}
    assert {"cls_token", "norm", "mask_token", "decoder_pos_embed", "decoder_blocks"} <= dropped
    for key in ("patch_embed.proj.weight", "blocks.3.mlp.fc2.bias", "blocks.0.attn.qkv.weight"):
        assert torch.equal(detector.backbone.state_dict()[key], stored[key])


@pytest.mark.parametrize("name", FULL)
def test_learning_rates_and_weight_decay_are_detectron2s(name):
    detector = full_size(name)
    optimizer = Optimizer(lr=1e-4, layer_decay=LAYER_DECAY[name], weight_decay=0.1, no_decay="none")
    official = table("mimdet_vitdet/optim_groups.json")[name]
    pairs = {key: torch.tensor(value, dtype=torch.float64) for key, value in official.items()}
    theirs = rename(pairs, full_map(detector.backbone)).kept
    ours = {rate.name: rate for rate in rates(detector, optimizer)}
    assert ours.keys() == theirs.keys()
    for key, (lr, decay) in ((key, pair.tolist()) for key, pair in theirs.items()):
        assert ours[key].factor * optimizer.lr == pytest.approx(lr, rel=1e-6)
        assert ours[key].weight_decay == decay


@pytest.mark.parametrize("name", FULL)
def test_every_key_of_the_full_size_release_has_its_place(name):
    shapes = table("mimdet_vitdet/official_state_dict_shapes.json")[name]
    detector = full_size(name)
    official = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    renamed = rename(official, full_map(detector.backbone))
    assert not renamed.unknown
    ours = {key: x.shape for key, x in detector.state_dict().items()}
    assert {key: x.shape for key, x in renamed.kept.items()} == ours
