"""MIMDet against the released code, through the public way of loading a checkpoint.

Tolerances, all for fp32 sums in another order: features and logits 2e-4 of the largest value,
boxes 0.02 px, scores 1e-3, losses 1e-4, gradients 5e-3 in the L2 norm.
"""

import json

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
    metadata,
    read,
    replay,
    table,
    whole,
)
from torch import nn

from backbones.key_maps.rename import KeyMap, rename
from backbones.mimdet import MIMDet, MIMDetOptions
from backbones.mimdet.sampling import Sampler, share
from heads.key_maps import DETECTRON2_HEAD
from heads.options import HeadOptions
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.engine.optim import rates
from mimdet_cli.engine.schedule import Schedule, scaled_lr, total_steps
from mimdet_cli.evaluation.paste import to_result
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.weights.load import load_weights

SMALL = {
    "width": 96, "depth": 4, "heads": 3, "drop_path": 0.0, "grid": 14, "channels": 32,
    "decoder_width": 64, "decoder_heads": 4, "decoder_layers": 2,
}  # fmt: skip
HEAD = HeadOptions(
    channels=32, fc_channels=64, rpn_batch=64, rpn_pre_nms_train=300, rpn_pre_nms_test=200,
    rpn_post_nms_train=150, rpn_post_nms_test=100, roi_batch=64, detections=12,
)  # fmt: skip
FILL = {"convfeat": "stem", "masktoken": "mask"}
RATIO = {"r100": 1.0, "r050": 0.5, "r0125": 0.125}
CASES = [
    ("convfeat", "case_sq_r100"),
    ("convfeat", "case_ns_r050"),
    ("convfeat", "case_ns_r0125"),
    ("masktoken", "case_ns_r050"),
    ("masktoken", "case_sq_r050"),
]


def small(fill, ratio=1.0):
    return MIMDet(MIMDetOptions(**SMALL, fill=FILL[fill], train_ratio=0.5, eval_ratio=ratio))


def released_detector(fill, tmp_path):
    """Our detector, filled from a `.pth` in the released layout."""
    weights = read(whole(f"mimdet_vitdet/mimdet_{fill}.weights.safetensors"))
    path = tmp_path / "released.pth"
    torch.save({"model": weights}, path)
    detector = detector_on(small(fill), 5, HEAD, PIXEL_MEAN, PIXEL_STD)
    key_map = detector.backbone.key_maps["mimdet_release"]
    report = load_weights(detector, key_map, path, "mimdet_release", 0.0)
    assert report.share == 1.0
    assert not report.missing
    return detector


def stored_draw(run):
    """The released draw: its permutation, or where that is not kept, the same sort of its noise."""

    def order(grid):
        if "sampling.ids_shuffle" in run:
            return run["sampling.ids_shuffle"]
        return run["sampling.noise"].masked_fill(~grid.valid, 100.0).argsort(dim=1)

    return Sampler(order, share)


def loaded_backbone(weights, fill, ratio):
    backbone = small(fill, ratio).eval()
    kept = rename(weights, backbone.key_maps["mimdet_release"]).kept
    backbone.load_state_dict({key.removeprefix("backbone."): x for key, x in kept.items()})
    return backbone


def normalised(backbone, run):
    return detector_on(backbone, 5, HEAD, PIXEL_MEAN, PIXEL_STD).prepare(images(run))


def test_the_committed_cut_gives_the_released_coarsest_map():
    run = read(FIXTURES / "mimdet_convfeat.safetensors")
    weights = {key: x for key, x in run.items() if key.startswith("backbone.")}
    backbone = loaded_backbone(weights, "convfeat", 0.5)
    backbone.sampler = stored_draw(run)
    batch, sizes = normalised(backbone, run)
    with torch.no_grad():
        maps = backbone(batch, sizes)
    close(maps["p5"], run["fpn.p5"])  # through stem, sampling, encoder, filling, decoder, pyramid


@pytest.mark.parametrize(("fill", "case"), CASES)
def test_every_map_of_the_backbone_equals_the_released_one(fill, case):
    run = read(whole(f"mimdet_vitdet/mimdet_{fill}.{case}.safetensors"))
    weights = read(whole(f"mimdet_vitdet/mimdet_{fill}.weights.safetensors"))
    weights = {key: x for key, x in weights.items() if key.startswith("backbone.")}
    backbone = loaded_backbone(weights, fill, RATIO[case.split("_")[-1]])
    backbone.sampler = stored_draw(run)
    batch, sizes = run["in.tensor"], run["in.image_sizes"]
    with torch.no_grad():
        stem = backbone.stem(batch)
        maps = backbone(batch, sizes)
    for i, ours in enumerate(stem):
        close(ours, run[f"stem.{i}"])
    for name in ("p2", "p3", "p4", "p5"):
        close(maps[name], run[f"fpn.{name}"])


def test_padding_tokens_are_the_released_ones():
    from backbones.mimdet.sampling import valid_tokens

    run = read(FIXTURES / "mimdet_convfeat.safetensors")
    ours = valid_tokens(run["in.image_sizes"], 14, 22, 16)
    assert torch.equal(~ours, run["sampling.pad_mask"].bool())


def test_detections_and_pasted_masks_equal_the_released_ones(tmp_path):
    run = read(whole("mimdet_vitdet/mimdet_convfeat.det_eval.safetensors"))
    detector = released_detector("convfeat", tmp_path).eval()
    with torch.no_grad():
        found = detector(images(run))
    for i, detections in enumerate(found):
        assert torch.equal(detections.labels, run[f"det_{i}.classes"])
        assert (detections.boxes - run[f"det_{i}.boxes"]).abs().max() <= 0.02
        close(detections.scores, run[f"det_{i}.scores"], 1e-3)
        size = tuple(run["in.image_sizes"][i].tolist())
        wanted = tuple(run["in.output_sizes"][i].tolist())
        result = to_result(detections, i, size, wanted)
        theirs = run[f"post_{i}.masks"].bool()
        assert len(result.rles) == len(theirs) > 0
        for rle, mask in zip(result.rles, theirs, strict=True):
            assert (torch.from_numpy(to_bitmap(rle)) != mask).sum() <= 10


@pytest.mark.parametrize("fill", ["convfeat", "masktoken"])
def test_five_losses_and_all_gradients_equal_the_released_ones(fill, tmp_path):
    run = read(whole(f"mimdet_vitdet/mimdet_{fill}.det_train.safetensors"))
    detector = released_detector(fill, tmp_path).train()
    detector.backbone.sampler = stored_draw(run)
    losses = replay(detector, run)
    assert losses.keys() == LOSSES.keys()
    for ours, theirs in LOSSES.items():
        assert losses[ours].item() == pytest.approx(run[f"loss.{theirs}"].item(), rel=1e-4)
    sum(losses.values()).backward()
    key_map = detector.backbone.key_maps["mimdet_release"]
    whole_map = KeyMap({**key_map.rules, **DETECTRON2_HEAD})
    after = {key.removeprefix("after."): x for key, x in run.items() if key.startswith("after.")}
    state = detector.state_dict()
    for key, value in rename(after, whole_map).kept.items():
        close(state[key], value)
    if fill == "convfeat":
        grads = read(whole("mimdet_vitdet/mimdet_convfeat.det_train_grads.safetensors"))
        ours = {name: p.grad for name, p in detector.named_parameters() if p.requires_grad}
        theirs = rename(grads, whole_map)
        assert not theirs.unknown
        check_gradients(ours, theirs.kept)


@pytest.mark.parametrize("fill", ["convfeat", "masktoken"])
def test_a_mae_checkpoint_loads_as_the_released_loader_loads_it(fill, tmp_path):
    path = tmp_path / "mae.pth"
    torch.save({"model": read(whole("mimdet_vitdet/mae.weights.safetensors"))}, path)
    source = whole(f"mimdet_vitdet/mae_to_mimdet_{fill}.safetensors")
    stored, facts = read(source), metadata(source)
    backbone = MIMDet(MIMDetOptions(**{**SMALL, "grid": 10}, fill=FILL[fill]))
    detector = detector_on(backbone, 5, HEAD, PIXEL_MEAN, PIXEL_STD)
    report = load_weights(detector, backbone.key_maps["mae"], path, "mae", 0.0)
    prefixed = {f"backbone.bottom_up.{key}": x for key, x in stored.items()}
    theirs = rename(prefixed, backbone.key_maps["mimdet_release"]).kept
    known = json.loads(facts["copied_keys"]) + json.loads(facts["interpolated_keys"])
    fresh = json.loads(facts["fresh_keys"])
    ours = detector.state_dict()
    renamed = rename(
        {f"backbone.bottom_up.{key}": torch.zeros(0) for key in known},
        backbone.key_maps["mimdet_release"],
    ).kept
    assert set(report.loaded) == {key.removeprefix("backbone.") for key in renamed}
    for key in renamed:
        close(ours[key], theirs[key], 1e-6)
    assert len(report.resized) == len(json.loads(facts["interpolated_keys"])) == 2
    assert set(report.dropped) == set(json.loads(facts["unused_mae_keys"]))
    assert len([key for key in report.fresh if not key.startswith("fpn.")]) == len(fresh)


@pytest.mark.parametrize(("recipe", "size"), [("base_50pct", "base"), ("large_50pct", "large")])
def test_learning_rates_and_weight_decay_are_the_released_ones(recipe, size):
    loaded = load_recipe(recipe).recipe
    options = {k: v for k, v in loaded.backbone.values.items() if k != "norm"}
    with torch.device("meta"):
        backbone = MIMDet(MIMDetOptions(**options))
        detector = detector_on(backbone, 80, HeadOptions())
    official = table("mimdet_vitdet/optim_groups.json")[f"mimdet_{size}"]
    renaming = {key: torch.tensor(value) for key, value in official.items()}
    theirs = rename(renaming, full_map(backbone)).kept
    ours = {rate.name: rate for rate in rates(detector, loaded.optimizer)}
    assert ours.keys() == theirs.keys()
    for name, (lr, decay) in ((name, pair.tolist()) for name, pair in theirs.items()):
        assert ours[name].factor * loaded.optimizer.lr == pytest.approx(lr, rel=1e-6)
        assert ours[name].weight_decay == pytest.approx(decay, rel=1e-6)


@pytest.mark.parametrize(("recipe", "size"), [("base_50pct", "base"), ("large_50pct", "large")])
def test_the_schedule_is_the_released_one(recipe, size):
    loaded = load_recipe(recipe).recipe
    official = table("mimdet_vitdet/lr_multipliers.json")[f"mimdet_{size}"]
    steps = total_steps(loaded, 117_266)
    schedule = Schedule.of(loaded, steps)
    assert steps == official["max_iter"]
    assert scaled_lr(loaded) == loaded.optimizer.lr == 8e-5
    for step, factor in official["multiplier"].items():
        assert schedule(int(step)) == pytest.approx(factor, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("recipe", "size"), [("base_50pct", "base"), ("large_50pct", "large")])
def test_every_key_of_the_full_size_release_has_its_place(recipe, size):
    shapes = table("mimdet_vitdet/official_state_dict_shapes.json")[f"mimdet_{size}"]
    options = dict(load_recipe(recipe).recipe.backbone.values)
    with torch.device("meta"):
        backbone = MIMDet(MIMDetOptions(**{**options, "norm": "bn"}))
        detector = detector_on(backbone, 80, HeadOptions())
        official = {key: torch.empty(shape) for key, shape in shapes.items()}
    renamed = rename(official, full_map(backbone))
    assert not renamed.unknown
    ours = {key: x.shape for key, x in detector.state_dict().items()}
    assert {key: x.shape for key, x in renamed.kept.items()} == ours


def full_map(backbone: nn.Module) -> KeyMap:
    return KeyMap({**backbone.key_maps["mimdet_release"].rules, **DETECTRON2_HEAD})
