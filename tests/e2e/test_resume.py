"""A run that was killed and resumed ends as if nothing had happened, to the last bit.

A real process is killed with SIGKILL after its first checkpoint, so that nothing can be tidied up.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

STEPS, SAVES = 12, 3
DEADLINE_S = 120
FIRST = STEPS // SAVES
SAME = ("event", "step", "images", "tokens_seen", "losses", "lr", "grad_norm", "box_ap", "mask_ap")


def arguments(tiny: Path, shapes: Path, out: Path, *options: str) -> list[str]:
    changes = (
        f"train.steps={STEPS}", f"train.saves={SAVES}", "train.evals=2", "train.log_every=5",
        "train.clip=1", "train.channels_last=true", "data.group_by_aspect=false",
    )  # fmt: skip
    command = ["train", str(tiny), "--data", str(shapes), "--out", str(out), "--device", "cpu"]
    return [*command, *(word for change in changes for word in ("--set", change)), *options]


def kill_after_first_save(words: list[str], run: Path) -> None:
    """Start the command and kill it as soon as its first checkpoint is there."""
    code = (
        # steps are slowed down, or a fast machine would be through before it can be killed
        "import sys, time; from mimdet_cli.engine.step import Step; call = Step.__call__\n"
        "def slow(self, state, parts):\n    time.sleep(0.3); return call(self, state, parts)\n"
        "Step.__call__ = slow\n"
        "from mimdet_cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + DEADLINE_S
    while not (run / "last" / "manifest.json").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def journal(run: Path) -> list[dict]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: record.get(key) for key in SAME} for record in records]


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(
    mimdet, tiny, shapes, tmp_path, monkeypatch, workers
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # all processes sum in one order
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    option = ("--set", f"data.workers={workers}")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    try:
        assert mimdet(*arguments(tiny, shapes, whole, *option)).code == 0
        kill_after_first_save(arguments(tiny, shapes, broken, *option), broken)
        resumed = mimdet(*arguments(tiny, shapes, broken, *option, "--resume"))
    finally:
        torch.set_num_threads(threads)
    assert resumed.code == 0, resumed.err
    assert f"resuming {broken} after step {FIRST} of {STEPS}" in resumed.err

    for name in ("model", "optimizer"):
        ours = load_file(broken / f"step-{STEPS}" / f"{name}.safetensors")
        theirs = load_file(whole / f"step-{STEPS}" / f"{name}.safetensors")
        assert ours.keys() == theirs.keys()
        assert len(ours) > 50
        for key, tensor in theirs.items():
            assert torch.equal(ours[key], tensor), key
    assert journal(broken) == journal(whole)
    assert [record["step"] for record in journal(whole)] == [4, 5, 6, 8, 10, 12, 12]
    predictions = [
        (run / "eval" / "last" / "predictions.json").read_bytes() for run in (whole, broken)
    ]
    assert predictions[0] == predictions[1]


def without_its_end(run: Path, copy: Path) -> Path:
    """A copy of a run of two checkpoints as it was after the first of them."""
    shutil.copytree(run, copy)
    for folder in (copy / "step-4", copy / "last", copy / "best"):
        shutil.rmtree(folder, ignore_errors=True)
    return copy


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_run_resumed_from_an_earlier_step_ends_the_same_with_every_optimizer(
    mimdet, tiny, shapes, tmp_path, name
):
    changes = ("train.keep=2", "train.evals=0", f"optimizer.name={name}", "train.freeze=[rpn.*]")
    options = ["--data", shapes, *(word for change in changes for word in ("--set", change))]
    whole = tmp_path / "whole"
    assert mimdet("train", tiny, *options, "--out", whole).code == 0
    broken = without_its_end(whole, tmp_path / "broken")
    resumed = mimdet("train", tiny, *options, "--out", broken, "--resume")
    assert resumed.code == 0, resumed.err
    assert f"resuming {broken} after step 2 of 4" in resumed.err
    for file in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = (load_file(run / "step-4" / file) for run in (broken, whole))
        assert ours.keys() == theirs.keys()
        assert len(ours) > 50
        for key, tensor in theirs.items():
            assert torch.equal(ours[key], tensor), key
    assert any(key.endswith((".exp_avg", ".momentum_buffer")) for key in theirs)
    assert not any(key.startswith("rpn.") for key in theirs)


def test_optimizer_state_that_does_not_fit_is_refused_at_resume(
    mimdet, trained, tiny, shapes, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    file = run / "step-4" / "optimizer.safetensors"
    tensors = load_file(file)
    size = file.stat().st_size
    tensors["rpn.objectness.bias.exp_avf"] = tensors.pop("rpn.objectness.bias.exp_avg")
    save_file(tensors, file)
    assert file.stat().st_size == size  # or the step would not count as whole
    outcome = mimdet("train", tiny, "--data", shapes, "--out", run, "--resume")
    assert outcome.code == 4
    fix = (
        "  fix: resume with the recipe and the versions that the run was started with, or start a "
        "new run from its weights: --set init.weights=null "
        f"--set init.checkpoint={run / 'step-4'}."
    )
    assert outcome.err.splitlines()[-6:] == [
        "error: 1 entry of the optimizer's state is missing: rpn.objectness.bias.exp_avg.",
        f"  at:  {run / 'step-4'}",
        fix,
        "error: 1 entry of the optimizer's state is surplus: rpn.objectness.bias.exp_avf.",
        f"  at:  {run / 'step-4'}",
        fix,
    ]


def test_run_that_was_killed_before_its_first_checkpoint_starts_over(
    mimdet, trained, tiny, shapes, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.yaml", "weights.json"):
        (run / name).write_bytes((trained / name).read_bytes())
    (run / "metrics.jsonl").write_text('{"event": "train", "step": 2}\n{"event": "tr')
    outcome = mimdet("train", tiny, "--data", shapes, "--out", run, "--resume")
    assert outcome.code == 0, outcome.err
    assert journal(run) == journal(trained)
