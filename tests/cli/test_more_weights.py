"""`init.more`: a pre-trained stem beside the encoder's weights, in one run."""

import json

import torch
from detectors import detector_of, in_maes_layout
from safetensors.torch import load_file, save_file
from timm.models.convnext import ConvNeXt


def test_a_convnext_file_fills_the_stem_and_a_mae_file_the_rest(mimdet, tiny, shapes, tmp_path):
    torch.manual_seed(3)
    convnext = ConvNeXt(depths=(3, 3, 1, 1), dims=(8, 16, 32, 64)).state_dict()
    save_file(convnext, tmp_path / "convnext.safetensors")
    backbone = detector_of(tiny, "seed=9").backbone
    own = backbone.state_dict()
    torch.save({"model": in_maes_layout(backbone)}, tmp_path / "mae.pth")
    run = tmp_path / "run"
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", run,
        "--set", "backbone.stem=convnext",
        "--set", "train.steps=1", "--set", "optimizer.warmup_images=0",
        "--set", "optimizer.lr=1e-12",
        "--set", f"init.weights={tmp_path / 'mae.pth'}", "--set", "init.format=mae",
        "--set", f"init.more=[{{weights: {tmp_path / 'convnext.safetensors'}, "
        "format: convnext_stem}]",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    records = json.loads((run / "weights.json").read_text())
    assert [(one["format"], one["share"]) for one in records] == [("mae", 1), ("convnext_stem", 1)]
    trained = load_file(run / "last/model.safetensors")
    # A learning rate of 1e-12 leaves fp32 weights where they were.
    stem = trained["backbone.stem.stages.1.blocks.2.mlp.fc1.weight"]
    torch.testing.assert_close(stem, convnext["stages.1.blocks.2.mlp.fc1.weight"])
    block = trained["backbone.encoder.blocks.1.mlp.fc1.weight"]
    torch.testing.assert_close(block, own["encoder.blocks.1.mlp.fc1.weight"])
