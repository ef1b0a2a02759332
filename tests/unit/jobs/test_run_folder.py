"""A run folder is opened by any of its names, resumed by its own recipe, and matched to data."""

import json
import shutil

import pytest
import torch
from detectors import completed

from mimdet_cli.data.annotations import Category
from mimdet_cli.errors import DataError, RecipeError, ResourceError, WeightsError
from mimdet_cli.jobs.run_folder import (
    match_classes,
    newest_step,
    open_checkpoint,
    start,
)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a trained run that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def resolved(run, *overrides):
    return completed(run / "recipe.yaml", *overrides)


@pytest.mark.parametrize(
    ("name", "folder", "step"),
    [(".", "last", 4), ("last", "last", 4), ("step-4", "step-4", 4)],
)
def test_run_and_checkpoint_folders_are_opened(run, name, folder, step):
    found = open_checkpoint(run / name)
    assert (found.folder.name, found.step) == (folder, step)
    assert [c.name for c in found.categories] == ["circle", "rectangle", "triangle"]
    assert found.recipe.backbone.values["width"] == 32
    assert found.eval_folder == run / "eval" / folder


def test_best_is_opened_by_its_name(run):
    best = json.loads((run / "best" / "manifest.json").read_text())
    found = open_checkpoint(run / "best")
    assert found.step == best["step"]
    assert {"box_ap", "mask_ap"} <= set(best)


def test_checkpoint_alone_keeps_its_results_to_itself(run, tmp_path):
    alone = shutil.move(run / "last", tmp_path / "detector")
    assert open_checkpoint(alone).eval_folder == alone / "eval"


def test_detector_is_ready_to_predict(run):
    detector = open_checkpoint(run).detector(torch.device("cpu"))
    assert not detector.training
    assert len(detector([torch.zeros(3, 64, 64, dtype=torch.uint8)])) == 1


def test_checkpoint_of_other_sizes_is_refused(run):
    found = open_checkpoint(run, ["backbone.decoder_width=48"])
    with pytest.raises(WeightsError) as caught:
        found.detector(torch.device("cpu"))
    assert caught.value.what.startswith("the checkpoint does not fit its recipe: ")
    assert "size mismatch" in caught.value.what


@pytest.mark.parametrize("missing", ["last", "last/manifest.json", "last/model.safetensors"])
def test_run_without_a_whole_checkpoint_is_refused(run, missing):
    path = run / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WeightsError, match="there is no complete checkpoint"):
        open_checkpoint(run)


def test_newest_whole_step_is_resumed_from(run):
    shutil.copytree(run / "step-4", run / "step-2")
    assert newest_step(run, resolved(run)) == run / "step-4"
    (run / "step-4" / "optimizer.safetensors").unlink()
    assert newest_step(run, resolved(run)) == run / "step-2"
    shutil.rmtree(run / "step-2")
    shutil.rmtree(run / "last")
    assert newest_step(run, resolved(run)) is None


def test_a_run_of_weights_alone_is_not_resumed(run):
    shutil.rmtree(run / "step-4")
    with pytest.raises(RecipeError, match="weights but no step to resume from"):
        newest_step(run, resolved(run))


def test_nothing_can_be_resumed_where_no_run_is(tmp_path, run):
    with pytest.raises(RecipeError, match="there is no run to resume"):
        newest_step(tmp_path / "empty", resolved(run))


def test_resuming_with_another_recipe_names_every_key_that_differs(run):
    changed = resolved(run, "optimizer.lr=0.5", "backbone.train_ratio=0.9")
    with pytest.raises(RecipeError) as caught:
        newest_step(run, changed)
    assert [error.what for error in caught.value.each()] == [
        "'backbone.train_ratio' is 0.9, but the run was started with 0.5.",
        "'optimizer.lr' is 0.5, but the run was started with 0.001.",
    ]


@pytest.mark.parametrize("change", ["data.root=/elsewhere", "data.workers=3", "train.saves=9"])
def test_what_does_not_change_the_result_may_differ(run, change):
    assert newest_step(run, resolved(run, change)) == run / "step-4"


def test_a_run_from_before_an_option_was_added_resumes_with_its_default(run):
    changed = resolved(run)
    file = run / "recipe.yaml"
    lines = file.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("  fill: ", "  rpn_nms: "))]
    assert len(kept) == len(lines) - 2
    file.write_text("".join(kept))
    assert newest_step(run, changed) == run / "step-4"
    with pytest.raises(RecipeError, match=r"'backbone\.fill' is 'mask', but the run was started"):
        newest_step(run, resolved(run, "backbone.fill=mask"))


def test_folder_that_cannot_be_written_is_said(tmp_path, run):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError) as caught:
        start(tmp_path / "file" / "run", resolved(run), [])
    assert caught.value.what == "cannot write the run folder: Not a directory."


def test_classes_of_model_and_data_must_be_the_same_in_order(tmp_path):
    ours = [Category(1, "cat"), Category(5, "dog")]
    match_classes(ours, [Category(3, "cat"), Category(4, "dog")], tmp_path)
    for theirs in (["dog", "cat"], ["cat"], ["cat", "cow"]):
        split = [Category(i, name) for i, name in enumerate(theirs)]
        with pytest.raises(DataError, match="the classes differ"):
            match_classes(ours, split, tmp_path)


def test_classes_that_differ_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        match_classes([Category(1, "cat")], [Category(1, "cow"), Category(2, "cat")], tmp_path)
    assert caught.value.what == (
        "the classes differ: the model has 1, the data 2; only in the model: none; "
        "only in the data: cow."
    )


def test_of_many_classes_that_differ_the_first_are_named_and_the_rest_counted(tmp_path):
    theirs = [Category(i, f"c{i:02}") for i in range(11)]
    with pytest.raises(DataError) as caught:
        match_classes([], theirs, tmp_path)
    assert caught.value.what.endswith(
        "only in the data: c00, c01, c02, c03, c04, c05, c06, c07 and 3 more."
    )
