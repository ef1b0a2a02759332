"""`mimdet convert`: what it prints and writes, and how it refuses what it cannot use."""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from detectors import detector_of, in_detectron2s_layout
from safetensors import safe_open
from safetensors.torch import load_file

from mimdet_cli.jobs.class_names import coco_classes
from mimdet_cli.recipe.load import dump, load_recipe


def released(recipe, path, classes=3, seed=5):
    """A file in the release's layout with the weights of a fresh detector; its state dict."""
    state = in_detectron2s_layout(detector_of(recipe, f"seed={seed}", classes=classes))
    torch.save({"model": state, "iteration": 3}, path)
    return state


def refused(outcome, code, *lines):
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines()[-len(lines) :] == list(lines)


@pytest.fixture
def file(tiny, tmp_path):
    path = tmp_path / "released.pth"
    released(tiny, path)
    return path


def test_a_released_file_becomes_a_run(mimdet, tiny, file, tmp_path):
    run = tmp_path / "run"
    outcome = mimdet("convert", file, "--recipe", tiny, "--out", run)
    assert outcome.code == 0, outcome.err
    assert outcome.err.splitlines()[0] == (
        "format: mimdet_release, the only whole-detector format that 'mimdet' reads"
    )
    assert "released.pth (mimdet_release): 100.0 % of the " in outcome.err
    assert (
        "classes: 3, numbered; use --classes or --annotations to name them"
        in outcome.err.splitlines()
    )
    assert outcome.out.splitlines()[-1] == f"run folder: {run}"
    assert sorted(one.name for one in run.iterdir()) == [
        "README.md", "environment.json", "last", "metrics.jsonl", "recipe.yaml", "weights.json",
    ]  # fmt: skip
    manifest = json.loads((run / "last/manifest.json").read_text())
    origin = manifest["converted_from"]
    assert (origin["file"], origin["format"]) == ("released.pth", "mimdet_release")
    (record,) = json.loads((run / "weights.json").read_text())
    assert record["share"] == 1
    assert record["sha256"] == origin["sha256"]
    card = (run / "README.md").read_text()
    assert "converted by mimdet" in card
    assert origin["sha256"] in card
    names = [one["name"] for one in json.loads((run / "last/classes.json").read_text())]
    assert names == ["class 1", "class 2", "class 3"]


def test_eighty_classes_are_cocos_with_its_ids(mimdet, tiny, tmp_path):
    released(tiny, tmp_path / "coco.pth", classes=80)
    run = tmp_path / "run"
    outcome = mimdet("convert", tmp_path / "coco.pth", "--recipe", tiny, "--out", run, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert (report["classes"], report["class_names"]) == (80, "COCO's")
    classes = json.loads((run / "last/classes.json").read_text())
    assert (classes[0], classes[-1]) == (
        {"id": 1, "name": "person"},
        {"id": 90, "name": "toothbrush"},
    )
    assert len({one.name for one in coco_classes()}) == 80


def test_an_annotation_file_names_the_classes(mimdet, tiny, file, shapes, tmp_path):
    run = tmp_path / "run"
    annotations = shapes / "annotations/instances_val.json"
    outcome = mimdet(
        "convert", file, "--recipe", tiny, "--out", run, "--annotations", annotations
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    names = [one["name"] for one in json.loads((run / "last/classes.json").read_text())]
    assert names == ["circle", "rectangle", "triangle"]
    assert mimdet("eval", run, "--data", shapes, "--device", "cpu").code == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a\nb\n", "error: the checkpoint has 3 classes, but this file names 2."),
        ("a\nb\nb\n", "error: duplicate class names: b."),
    ],
)
def test_names_that_do_not_fit_are_refused(mimdet, tiny, file, tmp_path, text, what):
    (tmp_path / "names.txt").write_text(text)
    out = tmp_path / "run"
    outcome = mimdet(
        "convert", file, "--recipe", tiny, "--out", out, "--classes", tmp_path / "names.txt"
    )
    assert (outcome.code, outcome.out) == (3, "")
    assert what in outcome.err.splitlines()
    assert not out.exists()


@pytest.mark.parametrize("text", ["[", "{}", '{"categories": [{"id": 1}]}', "\xff"])
def test_annotations_without_usable_categories_are_refused(mimdet, tiny, file, tmp_path, text):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    outcome = mimdet(
        "convert", file, "--recipe", tiny, "--out", tmp_path / "run",
        "--annotations", tmp_path / "a.json",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (3, "")
    assert str(tmp_path / "a.json") in outcome.err


def test_a_key_without_a_place_and_a_missing_one_are_refused(mimdet, tiny, file, tmp_path):
    state = torch.load(file, weights_only=True)["model"]
    for change, word in ((lambda s: s.update(stray=torch.ones(1)), "stray"),
                         (lambda s: s.pop("roi_heads.mask_head.deconv.bias"), "mask_head.up.bias"),
                         (lambda s: s.pop("roi_heads.box_predictor.cls_score.weight"),
                          "no class scores")):  # fmt: skip
        spoilt = dict(state)
        change(spoilt)
        torch.save({"model": spoilt}, tmp_path / "spoilt.pth")
        outcome = mimdet(
            "convert", tmp_path / "spoilt.pth", "--recipe", tiny, "--out", tmp_path / "run"
        )
        assert (outcome.code, outcome.out) == (4, "")
        assert word in outcome.err
        assert not (tmp_path / "run").exists()


def test_other_pixel_statistics_in_the_file_are_reported(mimdet, tiny, tmp_path):
    state = released(tiny, tmp_path / "plain.pth")
    state["pixel_mean"] = torch.tensor([127.5, 127.5, 127.5]).view(3, 1, 1)
    torch.save({"model": state}, tmp_path / "raw.pth")
    words = ("convert", tmp_path / "raw.pth", "--recipe", tiny)
    outcome = mimdet(*words, "--out", tmp_path / "one")
    assert outcome.code == 0, outcome.err
    fix = re.search(r"`--set (data\.pixel_mean=\S+)`", outcome.err)
    assert fix, outcome.err
    outcome = mimdet(*words, "--out", tmp_path / "two", "--set", fix[1])
    assert outcome.code == 0, outcome.err
    assert "pixel_mean [" not in outcome.err


class MakesAFile:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".pkl"])
def test_a_file_that_wants_to_run_code_is_refused_and_does_not_run_it(
    mimdet, tiny, file, tmp_path, suffix
):
    made = tmp_path / "made"
    state = torch.load(file, weights_only=True)
    bad = tmp_path / f"bad{suffix}"
    torch.save({**state, "x": MakesAFile(made)}, bad)
    outcome = mimdet("convert", bad, "--recipe", tiny, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (4, "")
    assert "run code" in outcome.err
    assert not made.exists()
    assert not (tmp_path / "run").exists()


def test_a_pickle_of_arrays_is_refused_with_a_command_that_unpacks_it(mimdet, tiny, tmp_path):
    state = {key: x.numpy() for key, x in released(tiny, tmp_path / "file.pth").items()}
    assert all(isinstance(x, np.ndarray) for x in state.values())
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": state, "__author__": "them"}))
    outcome = mimdet("convert", tmp_path / "model.pkl", "--recipe", tiny, "--out", tmp_path / "r")
    assert (outcome.code, outcome.out) == (4, "")
    command = outcome.err.partition("convert the result: ")[2].strip()
    words = shlex.split(command)
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, timeout=60)
    outcome = mimdet(
        "convert", tmp_path / "model.safetensors", "--recipe", tiny, "--out", tmp_path / "r"
    )
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ((), ("error: give --recipe or --to.",
              "  fix: --recipe turns a released file into a run, --to turns a run into a file.")),
        (("--to", "detectron2", "--recipe", "base_50pct"),
         ("error: --recipe and --to cannot be combined.",
          "  fix: omit --recipe: a run has its own recipe and classes.")),
        (("--recipe", "base_50pct", "--classes", "a", "--annotations", "b"),
         ("error: --classes and --annotations cannot be combined.", "  fix: give one of them.")),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(mimdet, tmp_path, options, lines):
    refused(mimdet("convert", "file.pth", "--out", tmp_path / "run", *options), 2, *lines)


def test_a_format_that_holds_no_whole_detector_is_refused(mimdet, tiny, file, tmp_path):
    words = ("convert", file, "--recipe", tiny, "--out", tmp_path / "run")
    refused(
        mimdet(*words, "--format", "mae"), 2,
        "error: 'mae' files hold a backbone alone.",
        "  at:  --format",
        "  fix: formats of whole detectors: mimdet_release. To train from the file: "
        "`--set init.format=mae`.",
    )  # fmt: skip
    refused(
        mimdet(*words, "--format", "yolo"), 2,
        "error: 'yolo' files cannot be read by 'mimdet'.",
        "  at:  --format",
        "  fix: formats of whole detectors: mimdet_release.",
    )  # fmt: skip
    refused(
        mimdet(*words, "--set", "backbone.stem=convnext"), 2,
        "error: the backbone 'mimdet', with this recipe's options, reads no format of whole "
        "detectors.",
        "  at:  --recipe",
        "  fix: use the recipe of the release.",
    )  # fmt: skip


def test_what_is_missing_or_in_the_way_is_said_before_anything_is_read(
    mimdet, tiny, file, tmp_path
):
    missing = tmp_path / "missing.pth"
    refused(
        mimdet("convert", missing, "--recipe", tiny, "--out", tmp_path / "run"), 4,
        f"error: {missing} does not exist.",
        f"  at:  {missing}",
        "  fix: correct the path.",
    )  # fmt: skip
    refused(
        mimdet("convert", file, "--recipe", tiny, "--out", tmp_path), 2,
        "error: the run folder is not empty.",
        f"  at:  {tmp_path}",
        "  fix: choose another --out.",
    )  # fmt: skip
    refused(
        mimdet("convert", file, "--recipe", tiny, "--out", file / "run"), 6,
        "error: the run folder cannot be created: File exists.",
        f"  at:  {file / 'run'}",
        "  fix: choose another --out.",
    )  # fmt: skip


def test_a_converted_run_is_not_resumed_but_named_as_a_start(mimdet, tiny, file, shapes, tmp_path):
    run = tmp_path / "run"
    assert mimdet("convert", file, "--recipe", tiny, "--out", run).code == 0
    before = (run / "last/manifest.json").read_bytes()
    changes = ("--set", f"data.root={shapes}", "--resume")
    outcome = mimdet("train", run / "recipe.yaml", "--out", run, *changes)
    assert outcome.code == 2
    assert "weights but no step to resume from" in outcome.err
    assert (run / "last/manifest.json").read_bytes() == before


def test_a_run_is_written_as_one_safetensors_file_under_our_names(mimdet, trained, tmp_path):
    out = tmp_path / "new/model.safetensors"
    outcome = mimdet("convert", trained, "--to", "safetensors", "--out", out)
    assert outcome.code == 0, outcome.err
    before, after = load_file(trained / "last/model.safetensors"), load_file(out)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    with safe_open(out, "pt") as file:
        header = file.metadata()
    assert [one["name"] for one in json.loads(header["classes.json"])] == [
        "circle", "rectangle", "triangle",
    ]  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(header["recipe.yaml"])
    again = dump(load_recipe(tmp_path / "recipe.yaml").recipe)
    assert again == (trained / "last/recipe.yaml").read_text()
    assert outcome.out.splitlines() == [
        f"wrote {out}: {len(after)} tensors under mimdet's names, with recipe and classes in the "
        "header",
        f'load: model.load_state_dict(safetensors.torch.load_file("{out}"))',
    ]


def test_detectron2s_names_are_written_with_the_line_that_loads_them(mimdet, trained, tmp_path):
    out = tmp_path / "model.safetensors"
    outcome = mimdet("convert", trained / "best", "--to", "detectron2", "--out", out, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    names = set(load_file(out))
    assert len(names) == report["tensors"]
    assert "proposal_generator.rpn_head.conv.weight" in names
    assert report["load"].startswith("print(model.load_state_dict(")


def test_a_model_that_detectron2_does_not_have_is_refused(mimdet, tiny, shapes, tmp_path):
    run = tmp_path / "run"
    changes = ("--set", "backbone.fill=mask", "--set", "backbone.stem=convnext")
    steps = ("--set", "train.steps=1", "--set", "train.evals=0")
    outcome = mimdet("train", tiny, "--data", shapes, "--out", run, *changes, *steps)
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out.safetensors"
    outcome = mimdet("convert", run, "--to", "detectron2", "--out", out)
    assert (outcome.code, outcome.out) == (4, "")
    assert "detectron2 has no layout for this backbone" in outcome.err
    assert not out.exists()
    assert mimdet("convert", run, "--to", "safetensors", "--out", out).code == 0


def test_only_a_new_safetensors_file_is_written(mimdet, trained, tmp_path):
    words = ("convert", trained, "--to", "safetensors", "--out")
    refused(
        mimdet(*words, tmp_path / "model.pth"), 2,
        "error: 'model.pth' does not end in .safetensors; pickles are not written.",
        "  at:  --out",
        f"  fix: for example --out {tmp_path / 'model.safetensors'}.",
    )  # fmt: skip
    there = tmp_path / "there.safetensors"
    there.write_text("precious")
    refused(
        mimdet(*words, there), 2,
        "error: the file already exists.",
        f"  at:  {there}",
        "  fix: remove it, or choose another --out.",
    )  # fmt: skip
    assert there.read_text() == "precious"
    assert mimdet(*words, there / "model.safetensors").code == 6
