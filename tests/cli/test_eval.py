"""`mimdet eval`: a run or a results file, never both; which checkpoint; what is written where."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

ANNOTATIONS = {
    "images": [{"id": 1, "width": 100, "height": 100, "file_name": "a.jpg"}],
    "categories": [{"id": 7, "name": "disc"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 7,
            "bbox": [10, 10, 50, 50],
            "area": 2500,
            "iscrowd": 0,
            "segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]],
        }
    ],
}
RESULTS = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.9}]


def accuracies(report: dict) -> dict:
    """The numbers of boxes and masks."""
    found = {key: value for key, value in report.items() if key.startswith(("box_", "mask_"))}
    assert "box_ap" in found
    return found


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "val.json").write_text(json.dumps(ANNOTATIONS))


def test_results_file_is_scored_as_json_with_null_where_nothing_exists(mimdet, files):
    outcome = mimdet("eval", "results.json", "--annotations", "val.json", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    # Precision at the last recall threshold is 1 up to the rounding of its denominator.
    perfect = [report[key] for key in ("box_ap", "box_ap50", "box_ap_m")]
    assert perfect == pytest.approx([100] * 3, rel=1e-12)
    assert report["box_ap_s"] is None
    assert "mask_ap" not in report


def test_results_file_is_scored_in_lines(mimdet, files):
    outcome = mimdet("eval", "results.json", "--annotations", "val.json")
    assert outcome.code == 0
    assert outcome.out.startswith("box AP  100.0")


def test_results_file_needs_its_annotations(mimdet, files):
    outcome = mimdet("eval", "results.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: a results file needs its annotation file.\n"
        "  at:  results.json\n"
        "  fix: add --annotations FILE.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (
            ("results.json", "--data", "x", "--set", "seed=1"),
            "--data and --set cannot be used with a results file.",
        ),
        (("results.json", "--device", "cpu"), "--device cannot be used with a results file."),
        (
            ("results.json", "--ratio", "0.5", "--evals", "2", "--out", "x"),
            "--ratio and --evals and --out cannot be used with a results file.",
        ),
        ((".", "--annotations", "val.json"), "--annotations cannot be used with a run."),
    ],
)
def test_option_that_does_not_apply_is_refused(mimdet, files, arguments, what):
    outcome = mimdet("eval", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: {what}\n  fix: omit what does not apply; see `mimdet eval --help`.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("runs/gone",), 4, "error: there is no run at runs/gone.\n  fix: give a run folder.\n"),
        (
            ("gone.json", "--annotations", "val.json"),
            3,
            "error: The file does not exist.\n  at:  gone.json\n  fix: check the path.\n",
        ),
        (
            ("results.json", "--annotations", "gone.json"),
            3,
            "error: The file does not exist.\n  at:  gone.json\n  fix: check the path.\n",
        ),
    ],
)
def test_missing_run_or_file_is_named(mimdet, files, arguments, code, message):
    outcome = mimdet("eval", *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", message)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a trained run that a test may add to."""
    return shutil.copytree(trained, tmp_path / "run")


def test_run_is_scored_by_its_last_checkpoint(mimdet, run):
    outcome = mimdet("eval", run)
    assert outcome.code == 0
    first, box, mask, where = outcome.out.splitlines()
    assert first == f"checkpoint {run / 'last'} (step 4)"
    assert box.startswith("box AP")
    assert mask.startswith("mask AP")
    assert where == f"predictions and plots: {run / 'eval' / 'last'}"


def test_json_of_a_run_has_every_number_in_points_of_100_and_null_where_nothing_is(mimdet, run):
    outcome = mimdet("eval", run, "--json")
    report = json.loads(outcome.out)
    figures = ["ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l"]
    figures += ["ar1", "ar10", "ar100", "ar_s", "ar_m", "ar_l"]
    keys = [f"{task}_{name}" for task in ("box", "mask") for name in figures]
    assert list(report) == [
        *keys, "per_class", "images", "detections", "ratio", "evals", "checkpoint", "step",
        "folder", "seconds",
    ]  # fmt: skip
    assert report["box_ap_l"] is report["mask_ap_l"] is None  # none is larger than 96 x 96 pixels
    assert all(0 <= report[key] <= 100 for key in keys if report[key] is not None)
    assert all(set(ap) == {"box_ap", "mask_ap"} for ap in report["per_class"].values())
    assert report["images"] == 4
    assert (report["checkpoint"], report["step"]) == (str(run / "last"), 4)


def test_evaluation_of_last_repeats_what_training_found(mimdet, run):
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    report = json.loads(mimdet("eval", run, "--json").out)
    assert report["box_ap"] == last["box_ap"]
    assert report["mask_ap"] == last["mask_ap"]


@pytest.mark.parametrize("name", ["last", "best", "step-4"])
def test_checkpoint_may_be_named_and_its_results_are_kept_apart(mimdet, run, name):
    report = json.loads(mimdet("eval", run / name, "--json").out)
    assert report["checkpoint"] == str(run / name)
    assert {path.name for path in (run / "eval" / name).iterdir()} == {
        "predictions.json", "results.json", "predictions.png", "precision_recall.png"
    }  # fmt: skip


def test_saved_predictions_give_the_same_ap_as_a_results_file(mimdet, run, shapes):
    of_run = json.loads(mimdet("eval", run, "--json").out)
    of_file = json.loads(
        mimdet(
            "eval", run / "eval" / "last" / "predictions.json",
            "--annotations", shapes / "annotations" / "instances_val.json", "--json",
        ).out
    )  # fmt: skip
    assert accuracies(of_file) == accuracies(of_run)
    assert of_file["checkpoint"] is None


def test_moved_run_is_scored_on_data_that_moved_too(mimdet, tiny, own_shapes, tmp_path):
    assert mimdet("train", tiny, "--data", own_shapes, "--out", tmp_path / "run").code == 0
    before = json.loads(mimdet("eval", tmp_path / "run", "--json").out)
    run, data = tmp_path / "there" / "run", tmp_path / "there" / "data"
    run.parent.mkdir()
    shutil.move(tmp_path / "run", run)
    shutil.move(own_shapes, data)
    gone = mimdet("eval", run)
    assert gone.code == 3
    assert "`--data DIR`" in gone.err
    after = json.loads(mimdet("eval", run, "--data", data, "--json").out)
    assert accuracies(after) == accuracies(before)


def test_share_of_the_tokens_in_evaluation_may_be_changed_and_is_seeded(mimdet, run):
    def score(*changes) -> dict:
        options = [word for change in changes for word in ("--set", change)]
        return accuracies(json.loads(mimdet("eval", run, *options, "--json").out))

    whole, half = score(), score("backbone.eval_ratio=0.5")
    assert half != whole
    assert score("backbone.eval_ratio=0.5") == half
    assert score("backbone.eval_ratio=0.5", "seed=5") != half


def as_json(outcome) -> dict:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_ratio_is_the_share_that_the_recipe_names(mimdet, run):
    by_key = as_json(mimdet("eval", run, "--set", "backbone.eval_ratio=0.5", "--json"))
    by_option = as_json(mimdet("eval", run, "--ratio", "0.5", "--json"))
    assert accuracies(by_key) == accuracies(by_option)
    for key in ("ratio", "evals", "folder"):
        assert by_key[key] == by_option[key]
    assert (by_option["ratio"], by_option["evals"]) == (0.5, 1)


def test_merged_evaluations_have_a_folder_of_their_own_and_say_how_they_were_made(mimdet, run):
    whole = as_json(mimdet("eval", run, "--json"))
    half = as_json(mimdet("eval", run, "--ratio", "0.5", "--json"))
    merged = as_json(mimdet("eval", run, "--ratio", "0.5", "--evals", "2", "--json"))
    shown = [(report["ratio"], report["evals"]) for report in (whole, half, merged)]
    assert shown == [(1.0, 1), (0.5, 1), (0.5, 2)]
    names = ["last", "last-ratio0.5", "last-ratio0.5-evals2"]
    for report, name in zip((whole, half, merged), names, strict=True):
        assert report["folder"] == str(run / "eval" / name)
        kept = json.loads((run / "eval" / name / "results.json").read_text())
        assert kept == {key: report[key] for key in kept}
        assert (kept["ratio"], kept["evals"]) == (report["ratio"], report["evals"])
    assert accuracies(merged) != accuracies(half)
    assert "2 evaluations of each image, 0.5 of the tokens\n" in mimdet(
        "eval", run, "--ratio", "0.5", "--evals", "2"
    ).out  # fmt: skip


def test_evaluations_with_other_values_do_not_replace_the_run_s_own(mimdet, run):
    def folder(*settings) -> str:
        texts = [text for one in settings for text in ("--set", one)]
        path = Path(as_json(mimdet("eval", run, *texts, "--json"))["folder"])
        assert (path / "results.json").is_file()
        return path.name

    own = folder()
    kept = (run / "eval" / own / "predictions.json").read_bytes()
    small, crowded = folder("data.eval_short_side=32"), folder("head.detections=3")
    both = folder("data.eval_short_side=32", "head.detections=3")
    half = folder("backbone.eval_ratio=0.5", "seed=5")
    assert len({own, small, crowded, both, half}) == 5
    assert own == folder("data.workers=0") == "last"  # changes nothing
    assert re.fullmatch(r"last-set-[0-9a-f]{8}", small)
    assert re.fullmatch(r"last-ratio0\.5-set-[0-9a-f]{8}", half)
    assert both == folder("head.detections=3", "data.eval_short_side=32")
    assert (run / "eval" / own / "predictions.json").read_bytes() == kept


def test_results_go_to_the_folder_that_is_named(mimdet, run, tmp_path):
    report = as_json(mimdet("eval", run, "--out", tmp_path / "a" / "b", "--json"))
    assert report["folder"] == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "predictions.json").is_file()


def test_folder_that_cannot_be_made_is_named(mimdet, run, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = mimdet("eval", run, "--out", tmp_path / "file" / "x")
    assert (outcome.code, outcome.out) == (6, "")
    assert outcome.err.endswith(
        "error: cannot create the results folder: Not a directory.\n"
        f"  at:  {tmp_path / 'file' / 'x'}\n"
        "  fix: give another folder.\n"
    )


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        (
            (),
            "the backbone sees every token (eval_ratio 1)",
            "omit evals, or give a ratio below 1.",
        ),
        (
            ("--ratio", "0.5", "--set", "backbone.sampling=grid"),
            "the same tokens are chosen every time",
            "omit evals.",
        ),
    ],
)
def test_evaluations_that_would_all_be_the_same_are_refused(mimdet, run, options, reason, fix):
    outcome = mimdet("eval", run, "--evals", "3", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"checkpoint {run / 'last'} (step 4)\n"
        f"error: 3 evaluations would be identical: {reason}.\n"
        "  at:  evals\n"
        f"  fix: {fix}\n"
    )


@pytest.fixture
def whole(run):
    """A checkpoint of a backbone that does not drop tokens."""
    recipe = run / "last" / "recipe.yaml"
    text = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump(text | {"backbone": {"name": "vitdet"}}))
    manifest = run / "last" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["recipe.yaml"]["bytes"] = recipe.stat().st_size
    manifest.write_text(json.dumps(content))
    return run


def test_ratio_of_a_backbone_that_leaves_no_tokens_out_is_refused(mimdet, whole):
    outcome = mimdet("eval", whole, "--ratio", "0.5")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: the backbone 'vitdet' always sees every token; it has no ratio.\n"
        "  at:  ratio\n"
        "  fix: omit the ratio.\n"
    )


def test_merging_evaluations_of_a_backbone_that_leaves_no_tokens_out_is_refused(mimdet, whole):
    outcome = mimdet("eval", whole, "--evals", "2")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith(
        "error: 2 evaluations would be identical: the backbone 'vitdet' does not drop tokens.\n"
        "  at:  evals\n"
        "  fix: omit evals.\n"
    )


def test_ratio_may_be_given_in_one_way_only(mimdet, run):
    outcome = mimdet("eval", run, "--ratio", "0.5", "--set", "backbone.eval_ratio=0.25")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: the ratio 0.5 and an override both set 'backbone.eval_ratio'.\n  at:  ratio\n"
        "  fix: omit one of them.\n"
    )


def test_checkpoint_of_another_recipe_is_refused(mimdet, run):
    outcome = mimdet("eval", run, "--set", "backbone.decoder_width=48")
    assert (outcome.code, outcome.out) == (4, "")
    log, what, where, fix = outcome.err.splitlines()
    assert log == f"checkpoint {run / 'last'} (step 4)"
    assert what.startswith("error: the checkpoint does not fit its recipe: ")
    assert where == f"  at:  {run / 'last' / 'model.safetensors'}"
    assert fix == ("  fix: do not override the backbone or head of a trained model.")


def test_data_of_other_classes_is_refused(mimdet, run, own_shapes):
    file = own_shapes / "annotations" / "instances_val.json"
    document = json.loads(file.read_text())
    document["categories"][0]["name"] = "disc"
    file.write_text(json.dumps(document))
    outcome = mimdet("eval", run, "--data", own_shapes)
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == (
        f"checkpoint {run / 'last'} (step 4)\n"
        "error: the classes differ: the model has 3, the data 3; only in the model: circle; "
        "only in the data: disc.\n"
        f"  at:  {file}\n"
        "  fix: use annotations with the model's training classes, in the same order.\n"
    )


def test_masks_are_not_scored_on_data_that_have_none(mimdet, run, own_shapes):
    file = own_shapes / "annotations" / "instances_val.json"
    document = json.loads(file.read_text())
    for annotation in document["annotations"]:
        del annotation["segmentation"]
    file.write_text(json.dumps(document))
    outcome = mimdet("eval", run, "--data", own_shapes, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert not [key for key in report if key.startswith("mask_")]
    with_masks = accuracies(json.loads(mimdet("eval", run, "--json").out))
    assert accuracies(report).items() <= with_masks.items()
    assert "warning: val: no annotation has a mask; only boxes are used.\n" in outcome.err


def test_folder_that_is_no_run_is_refused(mimdet, tmp_path):
    outcome = mimdet("eval", tmp_path)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "error: there is no complete checkpoint.\n"
        f"  at:  {tmp_path}; looked for manifest.json in it and in {tmp_path / 'last'}\n"
        "  fix: give a run folder with a last/, or a checkpoint folder in one.\n"
    )


def test_checkpoint_that_was_cut_short_is_refused(mimdet, run):
    model = run / "last" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    outcome = mimdet("eval", run)
    assert outcome.code == 4
    assert outcome.err.startswith("error: there is no complete checkpoint.\n")
