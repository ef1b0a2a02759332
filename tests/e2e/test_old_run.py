"""A run folder written by commit c73681b evaluates, predicts, resumes and fine-tunes.

`fixtures/run_c73681b` was made there, on generated images of 128 pixels, by

    mimdet data demo shapes --train 8 --val 4
    mimdet train tests/tiny.yaml --data shapes --out run --set train.keep=2

It lacks what is not read again: step-4/, best/, plots and pictures. Numbers are compared with room
for another processor's order of sums: 4 steps of training and an evaluation in fp32.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mimdet_cli

FIXTURE = Path(__file__).resolve().parent / "fixtures" / "run_c73681b"
MODEL = "model.safetensors"


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy; the data lie at `shapes` in it, not where the recipe says."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


def difference(one: Path, other: Path) -> float:
    """The largest difference between two files of tensors of the same names."""
    left, right = load_file(one), load_file(other)
    assert left.keys() == right.keys()
    return max(float((left[key] - right[key]).abs().max()) for key in left)


def test_it_fits_the_repository():
    assert sum(file.stat().st_size for file in FIXTURE.rglob("*") if file.is_file()) <= 2_000_000


def test_it_evaluates_to_the_same_detections(mimdet, old):
    before = json.loads((old / "run" / "eval" / "last" / "predictions.json").read_text())
    assert mimdet("eval", old / "run", "--data", old / "shapes").code == 0
    after = json.loads((old / "run" / "eval" / "last" / "predictions.json").read_text())
    assert len(before) > 300
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
    best = [entry["bbox"] for entry in before[:20]], [entry["bbox"] for entry in after[:20]]
    torch.testing.assert_close(torch.tensor(best[0]), torch.tensor(best[1]), atol=0.05, rtol=0)


def test_it_resumes_to_the_weights_that_it_reached(mimdet, old):
    reached = old / "reached"
    (old / "run" / "last").rename(reached)
    arguments = ("--data", old / "shapes", "--out", old / "run", "--set", "train.keep=2")
    outcome = mimdet("train", old / "run" / "recipe.yaml", *arguments, "--resume")
    assert outcome.code == 0, outcome.err
    assert "after step 2 of 4" in outcome.err
    # AdamW moves a weight by about the learning rate, 1e-3, a step, whatever the gradient's size
    assert difference(reached / MODEL, old / "run" / "last" / MODEL) < 1e-4
    journal = (old / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in journal if '"train"' in line] == [2, 4]


def test_it_is_fine_tuned(mimdet, old, tmp_path):
    changes = {"init.checkpoint": old / "run", "train.steps": 2, "train.evals": 0}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    outcome = mimdet(
        "train", FIXTURE / "run" / "recipe.yaml", "--data", old / "shapes", "--out",
        tmp_path / "new", *words,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"fine-tuning from {old / 'run' / 'last'} (step 4)" in outcome.err
    moved = difference(old / "run" / "last" / MODEL, tmp_path / "new" / "last" / MODEL)
    assert 0 < moved < 0.01


def test_it_opens_from_python(old):
    detector = mimdet_cli.load(old / "run")
    assert detector.class_names == ["circle", "rectangle", "triangle"]
    assert len(detector.predict(next((old / "shapes" / "val").iterdir()), score=0.0)) > 10
