"""`init.checkpoint`: a run starts from another run's weights, on the same or on other classes."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

STILL = (
    "--set", "train.steps=1", "--set", "train.evals=0", "--set", "train.saves=1",
    "--set", "optimizer.warmup_images=0", "--set", "optimizer.lr=1e-12",
    "--set", "optimizer.weight_decay=0",
)  # fmt: skip
"""One step that leaves fp32 weights where they were."""
ANEW = {
    f"roi_heads.{layer}.{leaf}"
    for layer in ("box_predictor.scores", "box_predictor.deltas", "mask_head.logits")
    for leaf in ("weight", "bias")
}


def weights(run):
    return load_file(run / "last/model.safetensors")


def rename_classes(data, names):
    """Give the classes of a data set other names."""
    for file in (data / "annotations").glob("*.json"):
        document = json.loads(file.read_text())
        for category, name in zip(document["categories"], names, strict=True):
            category["name"] = name
        file.write_text(json.dumps(document))


@pytest.fixture
def finetune(mimdet, tiny, tmp_path):
    """Train the tiny recipe for one still step from a checkpoint."""

    def run(checkpoint, data, *options):
        out = tmp_path / "run"
        outcome = mimdet(
            "train", tiny, "--data", data, "--out", out, "--device", "cpu",
            "--set", f"init.checkpoint={checkpoint}", *STILL, *options,
        )  # fmt: skip
        return outcome, out

    return run


def test_the_same_classes_take_every_tensor_over(finetune, trained, shapes):
    outcome, run = finetune(trained, shapes)
    assert outcome.code == 0, outcome.err
    before, after = weights(trained), weights(run)
    learned = [key for key, value in before.items() if value.is_floating_point()]
    assert len(learned) > 50
    for key in learned:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-9)
    assert f"fine-tuning from {trained / 'last'} (step 4)" in outcome.err
    assert "classes: the same 3 as in the checkpoint" in outcome.err
    (record,) = json.loads((run / "weights.json").read_text())
    assert (record["format"], record["share"], record["step"]) == ("mimdet run", 1, 4)


def test_other_class_names_reset_the_class_layers_and_say_so(finetune, trained, own_shapes):
    rename_classes(own_shapes, ["circle", "square", "star"])
    outcome, run = finetune(trained / "best", own_shapes)
    assert outcome.code == 0, outcome.err
    line = (
        "classes: 3 in the checkpoint, 3 here (new here: square, star); 3 layers reset: "
        "roi_heads.box_predictor.scores, roi_heads.box_predictor.deltas, roi_heads.mask_head.logits"
    )
    assert line in outcome.err.splitlines()
    (record,) = json.loads((run / "weights.json").read_text())
    assert set(record["fresh"]) == set(record["dropped"]) == ANEW
    assert line in record["lines"]
    assert line in (run / "README.md").read_text()
    before, after = load_file(trained / "best/model.safetensors"), weights(run)
    for key, value in before.items():
        if value.is_floating_point():
            same = torch.allclose(after[key], value, rtol=0, atol=1e-9)
            assert same is (key not in ANEW), key


def test_a_converted_run_is_fine_tuned(mimdet, finetune, trained, shapes, tmp_path):
    left = tmp_path / "left.safetensors"
    assert mimdet("convert", trained, "--to", "detectron2", "--out", left).code == 0
    converted = tmp_path / "converted"
    outcome = mimdet("convert", left, "--recipe", trained / "recipe.yaml", "--out", converted)
    assert outcome.code == 0, outcome.err
    outcome, run = finetune(converted, shapes)
    assert outcome.code == 0, outcome.err
    assert "new here: circle, rectangle, triangle" in outcome.err
    before, after = weights(trained), weights(run)
    key = "backbone.encoder.blocks.1.mlp.fc1.weight"
    torch.testing.assert_close(after[key], before[key], rtol=0, atol=1e-9)


def test_a_run_is_resumed_when_the_checkpoint_it_began_with_is_gone(
    mimdet, tiny, trained, shapes, tmp_path
):
    start = shutil.copytree(trained, tmp_path / "start")
    run = tmp_path / "run"
    words = (
        "train", tiny, "--data", shapes, "--out", run, "--set", f"init.checkpoint={start}",
        "--set", "train.evals=0",
    )  # fmt: skip
    assert mimdet(*words).code == 0
    shutil.rmtree(start)
    outcome = mimdet(*words, "--resume")
    assert outcome.code == 0, outcome.err
    assert f"resuming {run} after step 4 of 4" in outcome.err


def test_data_without_masks_leave_the_mask_head_behind(finetune, trained, own_shapes):
    for file in (own_shapes / "annotations").glob("*.json"):
        document = json.loads(file.read_text())
        for annotation in document["annotations"]:
            annotation.pop("segmentation")
        file.write_text(json.dumps(document))
    outcome, run = finetune(trained, own_shapes)
    assert outcome.code == 0, outcome.err
    assert "(only one of the two predicts masks)" in outcome.err
    assert not any("mask_head" in key for key in weights(run))


def refused(outcome, code, *lines):
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines() == list(lines)


def test_a_missing_checkpoint_is_said_before_the_data_are_read(finetune, tmp_path):
    outcome, _ = finetune(tmp_path / "nowhere", tmp_path / "no-data")
    refused(
        outcome, 4,
        f"error: there is no run or checkpoint at {tmp_path / 'nowhere'}.",
        "  at:  init.checkpoint",
        "  fix: give a run folder, or its best, last or step-N.",
    )  # fmt: skip


def test_a_checkpoint_of_other_options_is_refused_with_tensors_and_options(
    finetune, trained, shapes
):
    outcome, run = finetune(trained, shapes, "--set", "backbone.channels=8")
    assert (outcome.code, outcome.out) == (4, "")
    *_, error, where, fix = outcome.err.splitlines()
    assert error.startswith("error: the checkpoint does not fit the recipe's model; ")
    assert error.count("in the checkpoint") == 8
    assert "backbone.fpn.lateral.0.conv.weight ((16, " in error
    assert where == f"  at:  {trained / 'last/model.safetensors'}"
    assert fix == (
        "  fix: use the checkpoint's values of the options that differ: backbone.channels (16)."
    )
    assert not run.exists()


def test_two_sources_of_weights_are_refused(mimdet, tiny, trained, shapes, tmp_path):
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", tmp_path / "run",
        "--set", f"init.checkpoint={trained}", "--set", "init.weights=mae-base",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (2, "")
    assert "cannot be combined with init.weights or init.more" in outcome.err


def test_pixels_normalised_otherwise_are_warned_of(finetune, trained, shapes):
    outcome, _ = finetune(trained, shapes, "--set", "data.pixel_mean=[127.5,127.5,127.5]")
    assert outcome.code == 0, outcome.err
    assert (
        "warning: the checkpoint was trained with data.pixel_mean [123.675, 116.28, 103.53], "
        "this recipe has [127.5, 127.5, 127.5]." in outcome.err.splitlines()
    )
