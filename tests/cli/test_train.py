"""`mimdet train`: what it refuses, what a run writes, and what it prints."""

import json
import re
import shutil

import pytest

from mimdet_cli.jobs.out_folder import choose_folder


def test_folder_that_is_not_empty_is_refused(mimdet, tmp_path):
    (tmp_path / "notes.txt").touch()
    outcome = mimdet("train", "demo", "--out", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: the run folder is not empty.\n  at:  {tmp_path}\n"
        "  fix: give another folder, or resume the run in it.\n"
    )


def test_run_folder_that_is_a_file_is_refused(mimdet, tmp_path):
    file = tmp_path / "run"
    file.touch()
    outcome = mimdet("train", "demo", "--out", file)
    assert outcome.code == 2
    assert outcome.err == (
        f"error: the run folder is a file.\n  at:  {file}\n  fix: give another folder.\n"
    )


def test_resume_without_a_folder_is_refused(mimdet):
    outcome = mimdet("train", "demo", "--resume")
    assert outcome.code == 2
    assert outcome.err == (
        "error: the run to resume is not given.\n  at:  resume\n  fix: give its folder as out.\n"
    )


def test_default_folder_is_named_after_the_recipe_and_the_time():
    assert re.fullmatch(r"runs/demo-\d{8}-\d{6}", str(choose_folder(None, "demo", resume=False)))


@pytest.mark.parametrize("resume", [True, False])
def test_empty_or_new_folder_is_taken(tmp_path, resume):
    assert choose_folder(tmp_path, "demo", resume=resume) == tmp_path
    assert choose_folder(tmp_path / "new", "demo", resume=resume) == tmp_path / "new"


@pytest.mark.parametrize("name", ["../../ESCAPED", "/tmp/x", "a/b", "a\nb", "\x1b[31mred"])
def test_name_of_a_recipe_leads_nowhere(mimdet, tiny, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    outcome = mimdet("train", tiny, "--set", f"name={json.dumps(name)}")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        f"error: the name {name!r} cannot be part of a folder's name.",
        "  at:  name",
        "  fix: use letters, digits, - and _, or give the run folder as out.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_negative_seed_is_refused(mimdet):
    outcome = mimdet("train", "demo", "--seed", "-1")
    assert outcome.code == 2
    assert outcome.err.startswith("error: Invalid value for '--seed'")
    assert outcome.err.endswith("  fix: see `mimdet train --help`.\n")


def test_run_folder_holds_all_that_is_needed_to_understand_and_use_it(trained):
    files = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    checkpoint = {"model.safetensors", "recipe.yaml", "classes.json", "manifest.json"}
    assert files == {
        "recipe.yaml", "environment.json", "weights.json", "metrics.jsonl", "curves.png",
        "README.md",
        *(f"{folder}/{name}" for folder in ("last", "best", "step-4") for name in checkpoint),
        "step-4/optimizer.safetensors",
        *(
            f"eval/last/{name}"
            for name in (
                "predictions.json", "results.json", "predictions.png", "precision_recall.png"
            )
        ),
    }  # fmt: skip


def test_result_is_the_ap_and_the_folder_and_the_log_is_separate(mimdet, tiny, shapes, tmp_path):
    out = tmp_path / "run"
    outcome = mimdet("train", tiny, "--data", shapes, "--out", out)
    assert outcome.code == 0
    box, mask, took, where = outcome.out.splitlines()
    row = r" +\d+\.\d   AP50 \d+\.\d  AP75 \d+\.\d  APs \S+  APm \S+  APl \S+  AR100 \d+\.\d"
    assert re.fullmatch("box AP" + row, box)
    assert re.fullmatch("mask AP" + row, mask)
    assert re.fullmatch(r"trained 4 steps in \d+ min \d\d s", took)
    assert where == f"run folder with plots: {out}"
    log = [re.sub(r"\d+\.\d\d? s/step|\d+:\d\d|\d+\.\d+(e-\d\d)?", "N", line)
             for line in outcome.err.splitlines()]  # fmt: skip
    step = "step {}/4  loss N  lr N  N  eta N"
    scored = "step {}: box_ap N  box_ap50 N  mask_ap N  mask_ap50 N"
    assert log == [
        "train: 8 images (7 with objects), 41 objects, 3 classes",
        "val: 4 images (3 with objects), 13 objects, 3 classes",
        "weights: random, because init.weights is null",
        "model: 102,374 parameters, mimdet, fp32 on cpu",
        "plan: 4 steps x 2 images = 8 images, N passes over the data; learning rate N",
        step.format(2), "evaluating 4/4  took N", scored.format(2),
        step.format(4), "evaluating 4/4  took N", scored.format(4),
    ]  # fmt: skip


def test_readme_of_a_run_has_all_of_cocos_numbers(trained):
    card = (trained / "README.md").read_text()
    (heading,) = [line for line in card.splitlines() if "AP75" in line]
    assert [name.strip() for name in heading.strip("|").split("|")] == [
        "", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"
    ]  # fmt: skip


def test_journal_counts_images_and_tokens_and_holds_every_evaluation(trained):
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in lines] == [
        ("train", 2), ("eval", 2), ("train", 4), ("eval", 4)
    ]  # fmt: skip
    first = lines[0]
    assert (first["images"], first["tokens"], first["tokens_seen"]) == (4, 4 * 16, 4 * 8)
    assert first["loss"] == pytest.approx(sum(first["losses"].values()))


def test_report_as_json_has_the_ap_of_the_last_step(mimdet, tiny, shapes, tmp_path):
    outcome = mimdet("train", tiny, "--data", shapes, "--out", tmp_path / "run", "--json")
    report = json.loads(outcome.out)
    assert (report["run"], report["steps"]) == (str(tmp_path / "run"), 4)
    assert report["train_s"] > 0
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert report["ap"]["box_ap"] == last["box_ap"]


def test_run_without_evaluation_needs_no_val_split(mimdet, tiny, own_shapes, tmp_path):
    (own_shapes / "annotations" / "instances_val.json").unlink()
    out = tmp_path / "run"
    outcome = mimdet(
        "train", tiny, "--data", own_shapes, "--out", out, "--set", "train.evals=0", "--json"
    )
    assert outcome.code == 0
    assert json.loads(outcome.out)["ap"] is None
    assert (out / "last" / "model.safetensors").is_file()
    assert not (out / "best").exists()
    assert "This run was not scored." in (out / "README.md").read_text()


def test_finished_run_is_scored_again_but_not_trained_when_resumed(
    mimdet, trained, tiny, shapes, tmp_path
):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "eval")
    before = (run / "metrics.jsonl").read_text()
    outcome = mimdet("train", tiny, "--data", shapes, "--out", run, "--resume")
    assert outcome.code == 0
    assert f"resuming {run} after step 4 of 4" in outcome.err
    assert outcome.out.startswith("box AP")
    assert (run / "metrics.jsonl").read_text() == before
    assert (run / "eval" / "last" / "results.json").is_file()
    assert "This run was not scored." not in (run / "README.md").read_text()


def test_resuming_with_another_recipe_is_refused_naming_the_key(
    mimdet, trained, tiny, shapes, tmp_path
):
    run = shutil.copytree(trained, tmp_path / "run")
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", run, "--resume", "--set", "optimizer.lr=0.5"
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: 'optimizer.lr' is 0.5, but the run was started with 0.001.\n"
        "  at:  resume\n"
        "  fix: resume with the same recipe and overrides, or start a new run.\n"
    )


def test_resuming_where_no_run_is_is_refused(mimdet, tiny, shapes, tmp_path):
    outcome = mimdet("train", tiny, "--data", shapes, "--out", tmp_path / "gone", "--resume")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: there is no run to resume.\n  at:  {tmp_path / 'gone'}\n"
        "  fix: start a new run there without resume, or correct the folder.\n"
    )


def test_resumed_run_does_not_ask_for_its_initial_weights(
    mimdet, trained, tiny, shapes, tmp_path, monkeypatch
):
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("weights: null", "weights: mae-base"))
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "none"))
    assert mimdet("train", recipe, "--data", shapes, "--out", run, "--resume").code == 0


def test_missing_weights_are_said_before_anything_else_with_both_ways_out(
    mimdet, shapes, tmp_path, monkeypatch
):
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "store"))
    outcome = mimdet("train", "base_50pct", "--data", shapes, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "error: 'mae-base' (MAE ViT-Base, encoder and decoder) is not on this machine.\n"
        f"  at:  init.weights; looked in {tmp_path / 'store'} and the Hub's cache\n"
        "  fix: `mimdet pull mae-base`, or `mimdet weights import FILE --as mae-base-full` and "
        "`--set init.weights=mae-base-full` (the paper's own start); or train from random weights "
        "with `--set init.weights=null`.\n"
    )
    assert not (tmp_path / "run").exists()


def test_refused_weights_leave_no_run_folder_behind(mimdet, tiny, shapes, tmp_path):
    (tmp_path / "w.pth").write_text("<html>not found</html>")
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", tmp_path / "run",
        "--set", f"init.weights={tmp_path / 'w.pth'}", "--set", "init.format=mae",
    )  # fmt: skip
    assert outcome.code == 4
    assert outcome.err.splitlines()[-3:] == [
        "error: the file cannot be read: it is not a torch.save archive, and no other pickle is "
        "opened.",
        f"  at:  {tmp_path / 'w.pth'}, 22 bytes",
        "  fix: download it again; if it is intact but in an older format (torch before 1.6, "
        "detectron2's .pkl), save its tensors with `safetensors.torch.save_file`.",
    ]
    assert not (tmp_path / "run").exists()


def test_format_that_the_backbone_cannot_read_is_refused(mimdet, tiny, shapes, tmp_path):
    (tmp_path / "w.pth").touch()
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", tmp_path / "run",
        "--set", f"init.weights={tmp_path / 'w.pth'}", "--set", "init.format=timm",
    )  # fmt: skip
    assert outcome.code == 2
    assert "error: the backbone 'mimdet' cannot read 'timm' files.\n" in outcome.err
    assert "fix: it reads mae, hf_mae, mae_encoder, hf_mae_encoder, mimdet_release." in outcome.err


def test_half_precision_on_a_cpu_is_replaced_and_said(mimdet, tiny, shapes, tmp_path):
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", tmp_path / "run", "--device", "cpu",
        "--set", "train.precision=fp16", "--set", "train.evals=0",
    )  # fmt: skip
    assert outcome.code == 0
    assert "model: 102,374 parameters, mimdet, fp32 on cpu\n" in outcome.err
    assert "warning: fp16 needs a GPU; computing in fp32.\n" in outcome.err


def test_every_option_of_length_batch_and_memory_is_accepted_together(
    mimdet, tiny, shapes, tmp_path
):
    changes = (
        "train.batch=4", "train.accumulate=2", "train.precision=bf16", "train.clip=1",
        "train.channels_last=true", "train.evals=1", "data.workers=1",
        "backbone.checkpoint_activations=true", "backbone.fill=mask", "optimizer.scale=linear",
    )  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    outcome = mimdet("train", tiny, "--data", shapes, "--out", tmp_path / "run", *options)
    assert outcome.code == 0, outcome.err
    assert "bf16 on cpu" in outcome.err
    assert "learning rate 0.002 (0.001 at batch 2, linear)" in outcome.err
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["images"] == 8
    assert first["grad_norm"] > 0


def test_data_without_masks_trains_and_scores_the_boxes_and_says_so(
    mimdet, tiny, own_shapes, tmp_path
):
    for file in (own_shapes / "annotations").iterdir():
        document = json.loads(file.read_text())
        for annotation in document["annotations"]:
            del annotation["segmentation"]
        file.write_text(json.dumps(document))
    outcome = mimdet("train", tiny, "--data", own_shapes, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0, outcome.err
    ap = json.loads(outcome.out)["ap"]
    assert "box_ap" in ap
    assert "mask_ap" not in ap
    warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {name}: no annotation has a mask; only boxes are used."
        for name in ("train", "val")
    ]
    again = ("train", tiny, "--data", own_shapes, "--out", tmp_path / "run", "--resume")
    assert mimdet(*again).code == 0


def test_run_finds_its_data_from_any_working_folder(mimdet, tiny, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(shapes.parent)
    files = {
        "train_annotations": "annotations/instances_train.json", "train_images": "train",
        "val_annotations": "annotations/instances_val.json", "val_images": "val",
    }  # fmt: skip
    options = [w for k, v in files.items() for w in ("--set", f"data.{k}={shapes.name}/{v}")]
    run = tmp_path / "run"
    assert mimdet("train", tiny, "--out", run, *options, "--set", "train.evals=0").code == 0
    monkeypatch.chdir(tmp_path)
    assert mimdet("eval", run).code == 0


def test_run_that_diverges_says_where_and_what_to_try(mimdet, tiny, shapes, tmp_path):
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", tmp_path / "run", "--set", "optimizer.lr=1e30",
        "--set", "optimizer.warmup_images=0", "--set", "train.evals=0",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (7, "")
    what, where, fix = outcome.err.splitlines()[-3:]
    assert re.fullmatch(r"error: .* not finite at step \d: training has diverged\.", what)
    assert re.fullmatch(r"  at:  image ids \d+, \d+", where)
    assert fix.startswith("  fix: lower `optimizer.lr`, raise `optimizer.warmup_images`")
