"""Weights that were pulled from a Hub start a training run, which keeps where they came from."""

import json
from pathlib import Path

from hub import loopback
from machine import Machine


def test_pulled_weights_train_and_leave_their_origin_in_the_run(tmp_path, tiny, shapes):
    with loopback() as hub:
        machine = Machine(tmp_path, hub)
        hub.serve("someone/tiny-mae", mae_of(tiny))
        assert machine.run("pull", "someone/tiny-mae", "--format", "mae").code == 0
    run = machine.root / "run"
    outcome = machine.run(
        "train", tiny, "--data", shapes, "--out", run, "--set", "train.steps=1",
        "--set", "init.weights=tiny-mae", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    (record,) = json.loads((run / "weights.json").read_text())
    locked = machine.locked("tiny-mae")
    assert record["share"] == 1
    assert record["licence"] == "Hub says apache-2.0"
    assert "Hub says apache-2.0" in (run / "README.md").read_text()
    for key in ("repo", "commit", "sha256"):
        assert record[key] == locked[key]


def mae_of(recipe: Path) -> bytes:
    """Encoder and decoder of the recipe's MIMDet in the layout of MAE's authors."""
    from detectors import detector_of, in_maes_layout
    from safetensors.torch import save as save_tensors

    mae = in_maes_layout(detector_of(recipe).backbone)
    return bytes(save_tensors({key: tensor.contiguous() for key, tensor in mae.items()}))
