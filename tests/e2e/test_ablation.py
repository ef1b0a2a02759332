"""Ablations in real processes: killed, continued, shared, failing; and a step of every training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from detectors import detector_of

from mimdet_cli.ablation.definition import Request, shipped_ablations
from mimdet_cli.ablation.plan.make import make_plan
from mimdet_cli.build import build_state, build_step
from mimdet_cli.data.batch import Batch
from mimdet_cli.measure.scene import scene

DEADLINE_S = 240
TEXT = """\
question: Does the sampling matter?
base: tiny.yaml
set: {train.steps: 2, train.log_every: 1}
axes: {backbone.train_ratio: [0.5, 1.0]}
evaluate:
  axes: {backbone.eval_ratio: [0.5, 1.0]}
  at_least: {backbone.eval_ratio: backbone.train_ratio}
"""
FAILING = """\
question: Does it go on?
base: tiny.yaml
set: {train.steps: 2}
variants:
  fits: {}
  breaks: {optimizer.lr: 1.0e+30, optimizer.warmup_images: 0}
  after it: {after: breaks, train.clip: 1.0}
"""


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder with the tiny recipe and two ablations of it."""
    shutil.copy(tiny, tmp_path / "tiny.yaml")
    (tmp_path / "mine.yaml").write_text(TEXT)
    (tmp_path / "failing.yaml").write_text(FAILING)
    return tmp_path


def start(folder, shapes, *options, name="mine.yaml", out="out"):
    words = ["ablate", name, "--data", str(shapes), "--device", "cpu", "--out", out, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "mimdet_cli", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background job's is off
    )


def finish(process, code=0):
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, err
    return out, err


def wait_for(process, there):
    deadline = time.monotonic() + DEADLINE_S
    while not there():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(process):
    """The process and the run that it started, together and without a chance to clean up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def records(out):
    return {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/cell.json")}


def figures(out):
    """What must not depend on when and where a run ran: AP and counts by run and evaluation."""
    return {
        name: [
            record["status"],
            record["parameters"],
            {key: (one["ap"], one["gmacs"]) for key, one in record["evaluations"].items()},
        ]
        for name, record in records(out).items()
    }


def test_killed_and_shared_ablations_end_as_an_uninterrupted_one(folder, shapes):
    finish(start(folder, shapes, out="whole"))
    expected = figures(folder / "whole")
    assert len(expected) == 2
    assert sum(len(evaluations) for _, _, evaluations in expected.values()) == 3

    broken = folder / "broken"
    process = start(folder, shapes, out="broken")
    wait_for(process, lambda: any(broken.glob("runs/*/run/recipe.yaml")))
    kill(process)  # in the middle of a training
    assert not any("train_s" in record for record in records(broken).values())
    process = start(folder, shapes, out="broken")
    wait_for(process, lambda: any(r["status"] == "done" for r in records(broken).values()))
    kill(process)  # between two runs
    (done,) = (name for name, r in records(broken).items() if r["status"] == "done")
    before = (broken / "runs" / done / "cell.json").stat().st_mtime_ns

    shards = [start(folder, shapes, "--shard", f"{n}/2", out="broken") for n in (1, 2)]
    for shard in shards:
        finish(shard)
    assert figures(broken) == expected
    assert (broken / "runs" / done / "cell.json").stat().st_mtime_ns == before
    tables = [(folder / out / "ablations" / "mine.json").read_text() for out in ("whole", "broken")]
    assert tables[0] == tables[1]


def test_failing_run_is_named_and_the_others_are_done(folder, shapes):
    out, err = finish(start(folder, shapes, "--seeds", "1", name="failing.yaml"), code=1)
    by_label = {record["label"]: record for record in records(folder / "out").values()}
    assert {label: record["status"] for label, record in by_label.items()} == {
        "fits": "done", "breaks": "failed", "after it": "failed",
    }  # fmt: skip
    assert "diverged" in by_label["breaks"]["reason"]
    assert by_label["breaks"]["hash"] in by_label["after it"]["reason"]
    failures = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert failures == [
        f"failed: {label} seed 0: {by_label[label]['reason']}" for label in ("breaks", "after it")
    ]
    assert all(label in out for label in by_label)


def test_interrupted_ablation_stops_its_run_and_says_130(folder, shapes):
    process = start(folder, shapes)
    wait_for(process, lambda: any((folder / "out").glob("runs/*/run/recipe.yaml")))
    os.kill(process.pid, signal.SIGINT)
    _, err = finish(process, code=130)
    assert err.splitlines()[-1] == "interrupted"
    with pytest.raises(ProcessLookupError):  # its process group is gone
        os.killpg(process.pid, 0)


@pytest.fixture(scope="module")
def shrunk_recipes(tmp_path_factory):
    """Every training of every shipped ablation at its tiny size, equal ones once."""
    out = tmp_path_factory.mktemp("plans")
    plans = [
        make_plan(Request(name, base="demo", seeds=1, out=out)) for name in shipped_ablations()
    ]
    return {run.hash: (plan.definition.name, run) for plan in plans for run in plan.runs}


def test_every_training_of_every_ablation_takes_a_step_at_its_tiny_size(shrunk_recipes):
    assert len(shrunk_recipes) >= 30
    device, sample = torch.device("cpu"), scene((64, 64), classes=3)
    for name, run in shrunk_recipes.values():
        recipe = run.recipe.recipe
        detector = detector_of(recipe)
        step = build_step(recipe, 10, device)
        report = step(build_state(recipe, detector, device), [Batch.of([sample, sample])])
        assert 0 < report.loss < 100, (name, run.label)
