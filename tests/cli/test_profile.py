"""`mimdet profile`: costs of a recipe's detector, with the published figures beside them."""

import json

import pytest
from detectors import completed

from mimdet_cli.jobs.profiling import paper_of
from mimdet_cli.measure import speed


@pytest.fixture(autouse=True)
def few_runs(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)


def report(mimdet, *arguments):
    outcome = mimdet("profile", *arguments, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_json_holds_parameters_macs_latency_and_memory(mimdet, tiny):
    found = report(mimdet, tiny)
    assert (found["recipe"], found["classes"], found["device"]) == ("tiny", 80, "cpu")
    parameters, macs = found["parameters"], found["macs"]
    assert sum(parameters["parts"].values()) == parameters["total"] > parameters["trainable"] > 0
    assert sum(macs["parts"].values()) == macs["total"] > macs["without_detections"] > 0
    assert (macs["regions"], macs["detections"]) == (50, 100)
    latency = found["latency_ms"]
    assert 0 < latency["min"] <= latency["median"] <= latency["max"]
    assert latency["runs"] >= 3
    assert latency["detections"] > 0
    memory = found["memory_gb"]
    assert memory["reason"] or (memory["forward"] >= 0 and memory["step"] >= 0)
    assert found["paper"] is None


def test_size_is_that_of_evaluation_or_the_one_that_is_asked_for(mimdet, tiny):
    default, chosen = report(mimdet, tiny), report(mimdet, tiny, "--size", "96x128")
    assert (default["size"], default["padded"]) == ([64, 85], [64, 96])
    assert (chosen["size"], chosen["padded"]) == ([96, 128], [96, 128])
    assert chosen["macs"]["parts"]["backbone"] > default["macs"]["parts"]["backbone"]


def test_ratio_holds_in_evaluation_and_training_and_lowers_the_backbones_cost(mimdet, tiny):
    whole, part = report(mimdet, tiny), report(mimdet, tiny, "--ratio", 0.25)
    assert (whole["eval_ratio"], whole["train_ratio"]) == (1, 0.5)
    assert (part["eval_ratio"], part["train_ratio"]) == (0.25, 0.25)
    assert part["macs"]["parts"]["backbone"] < whole["macs"]["parts"]["backbone"]
    assert part["parameters"] == whole["parameters"]


def test_classes_are_those_of_the_data_unless_given(mimdet, tiny, shapes):
    from_data = report(mimdet, tiny, "--data", shapes)
    names = json.loads((shapes / "annotations/instances_val.json").read_text())["categories"]
    assert from_data["classes"] == len(names)
    assert report(mimdet, tiny, "--data", shapes, "--classes", 7)["classes"] == 7


def test_lines_put_our_figures_beside_the_papers(mimdet, tiny):
    outcome = mimdet("profile", tiny, "--device", "cpu", "--classes", 3)
    assert outcome.code == 0
    assert "counting" in outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("tiny, 3 classes, on ")
    assert lines[1].startswith("image 64 x 85, padded to 64 x 96, 100 % of its tokens in eval")
    header = next(line for line in lines if "ours" in line)
    start, paper = header.index("ours"), header.index("paper")
    row = next(line for line in lines if line.startswith("parameters"))
    assert row[start - 1] == " " != row[start]
    assert row[paper:] == "-"


def paper(name, *sets, size=(800, 1067)):
    return paper_of(completed(name, *sets), size, usual=(800, 1067))


def test_papers_figures_are_shown_as_far_as_the_recipe_is_the_papers():
    stated = paper("base_50pct")
    assert (stated.parameters_m, stated.gmacs, stated.step_memory_gb) == (128, 933, 19.9)
    part = paper("base_50pct", "backbone.eval_ratio=0.5", "train.batch=16")
    assert (part.gmacs, part.latency_ms, part.step_memory_gb) == (None, None, 19.9)
    assert paper("base_50pct", "backbone.train_ratio=0.25").step_memory_gb is None
    other = paper("base_50pct", size=(800, 1280))
    assert (other.parameters_m, other.gmacs, other.step_memory_gb) == (128, None, None)
    assert paper("vit_adapter_small_1x", size=(800, 1280)).gmacs == 403
    assert paper("base_50pct", "backbone.decoder_layers=2") is None
    assert paper("base_50pct", "head.mask=false") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--size", "800"], "'800' is not an image size"),
        (["demo", "--size", "32x800"], "'32x800' is not an image size"),
        (["demo", "--ratio", "0"], "0.0 is not a valid token ratio"),
        (["demo", "--ratio", "1.5"], "1.5 is not a valid token ratio"),
        (["vitdet_base_100ep", "--ratio", "0.5"], "the backbone 'vitdet' always sees every token"),
        (["vitdet_base_100ep", "--size", "800x1280"], "does not fit the backbone's square"),
        (["demo", "--device", "tpu9"], "'tpu9' is not a device"),
        (["demo", "--classes", "0"], "Invalid value for '--classes'"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_fix(mimdet, arguments, says):
    outcome = mimdet("profile", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    *_, error, last = [line for line in outcome.err.splitlines() if "  at:  " not in line]
    assert error.startswith("error: ")
    assert says in error
    assert last.startswith("  fix: ")


@pytest.mark.gpu
def test_memory_of_a_gpu_is_its_allocators_and_a_step_needs_more_than_a_forward_pass(mimdet, tiny):
    outcome = mimdet("profile", tiny, "--device", "cuda", "--json")
    assert outcome.code == 0, outcome.err
    memory = json.loads(outcome.out)["memory_gb"]
    assert memory["reason"] is None
    assert 0 < memory["forward"] < memory["step"]
