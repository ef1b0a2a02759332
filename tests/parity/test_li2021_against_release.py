"""Li et al. 2021 against MIMDet's re-implementation of it, through the public key map.

Tolerance for fp32 sums in another order: 2e-4 of the largest value.
"""

import pytest
import torch
from detectors import detector_on
from golden import FIXTURES, PIXEL_MEAN, PIXEL_STD, close, images, read, table, whole

from backbones.key_maps.rename import KeyMap, rename
from backbones.layers.relative_positions import table_bias
from backbones.layers.windows import to_windows
from backbones.vit_fpn import ViTFPN, ViTFPNOptions
from heads.key_maps import DETECTRON2_HEAD
from heads.options import HeadOptions
from mimdet_cli.engine.optim import rates
from mimdet_cli.recipe.schema import Optimizer
from mimdet_cli.weights.load import load_weights

SMALL = {
    "form": "li2021", "width": 96, "depth": 8, "heads": 3, "window": 8, "grid": 16,
    "drop_path": 0.0, "channels": 32,
}  # fmt: skip


def full_size():
    with torch.device("meta"):
        return detector_on(ViTFPN(ViTFPNOptions()), 80, HeadOptions())


def full_map(backbone):
    return KeyMap({**backbone.key_maps["li2021_release"].rules, **DETECTRON2_HEAD})


def released_backbone():
    backbone = ViTFPN(ViTFPNOptions(**SMALL)).eval()
    weights = read(whole("mimdet_vitdet/li2021.weights.safetensors"))
    renamed = rename(weights, backbone.key_maps["li2021_release"])
    assert not renamed.unknown
    assert {key.split(".")[-1] for key in renamed.dropped} == {"relative_position_index"}
    backbone.load_state_dict({key.removeprefix("backbone."): x for key, x in renamed.kept.items()})
    return backbone


def test_the_committed_cut_gives_the_released_windowed_block():
    run = read(FIXTURES / "li2021_block.safetensors")
    backbone = ViTFPN(ViTFPNOptions(**SMALL)).eval()
    weights = {key: x for key, x in run.items() if key.startswith("backbone.")}
    renamed = rename(weights, backbone.key_maps["li2021_release"])
    assert len(renamed.kept) == len(weights) == 13
    kept = {key.removeprefix("backbone."): x for key, x in renamed.kept.items()}
    backbone.load_state_dict({**backbone.state_dict(), **kept})
    with torch.no_grad():
        bias = table_bias(backbone.window_table, 8, 8)
        ours = backbone.blocks[6](run["vit.block5"].reshape(1, 16, 16, 96), bias)
    close(to_windows(ours, 8).flatten(1, 2), run["vit.block6"])


def test_every_map_of_the_backbone_equals_the_released_one():
    run = read(whole("mimdet_vitdet/li2021.case_sq256.safetensors"))
    backbone, seen = released_backbone(), {}
    for i, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda module, inputs, output, i=i: seen.update({i: output}))
    detector = detector_on(backbone, 5, HeadOptions(), PIXEL_MEAN, PIXEL_STD)
    batch, sizes = detector.prepare(images(run))
    close(batch, run["in.tensor"])
    with torch.no_grad():
        scaled = backbone.scaled(backbone.tokens_of(batch))
        maps = backbone(batch, sizes)
    assert len(seen) == 8
    for i, ours in seen.items():
        parts = to_windows(ours, 8) if i % 2 == 0 else ours
        close(parts.flatten(1, 2), run[f"vit.block{i}"])
    for i in range(4):
        close(scaled[i], run[f"s{i}"])
        close(maps[f"p{i + 2}"], run[f"fpn.p{i + 2}"])


def test_a_mae_checkpoint_fills_the_vit_and_leaves_the_computed_positions(tmp_path):
    stored = read(whole("mimdet_vitdet/mae.weights.safetensors"))
    path = tmp_path / "mae.pth"
    torch.save({"model": stored}, path)
    backbone = ViTFPN(ViTFPNOptions(**{**SMALL, "depth": 4, "global_blocks": (1, 3)}))
    before = backbone.pos_embed.detach().clone()
    detector = detector_on(backbone, 5, HeadOptions(), PIXEL_MEAN, PIXEL_STD)
    report = load_weights(detector, backbone.key_maps["mae_encoder"], path, "mae", 0.0)
    assert {"pos_embed", "window_table", "global_table"} <= set(report.fresh)
    assert torch.equal(backbone.pos_embed, before)
    assert torch.equal(backbone.blocks[3].norm2.weight, stored["blocks.3.norm2.weight"])


def test_learning_rates_and_weight_decay_are_the_released_ones():
    detector = full_size()
    optimizer = Optimizer(lr=8e-5, weight_decay=0.1, no_decay="norms")
    official = table("mimdet_vitdet/optim_groups.json")["li2021_b"]
    pairs = {key: torch.tensor(value, dtype=torch.float64) for key, value in official.items()}
    theirs = rename(pairs, full_map(detector.backbone)).kept
    ours = {rate.name: rate for rate in rates(detector, optimizer)}
    assert ours.keys() == theirs.keys()
    for key, (lr, decay) in ((key, pair.tolist()) for key, pair in theirs.items()):
        assert ours[key].factor * optimizer.lr == pytest.approx(lr, rel=1e-6), key
        assert ours[key].weight_decay == decay, key


def test_every_key_of_the_full_size_release_has_its_place():
    shapes = table("mimdet_vitdet/official_state_dict_shapes.json")["li2021_b"]
    detector = full_size()
    official = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    renamed = rename(official, full_map(detector.backbone))
    assert not renamed.unknown
    ours = {key: x.shape for key, x in detector.state_dict().items()}
    assert {key: x.shape for key, x in renamed.kept.items()} == ours
