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
    from safetensors.torch import save as save_tensors

    from mimdet_cli.build import build_detector, complete
    from mimdet_cli.recipe.load import load_recipe

    own = build_detector(complete(load_recipe(recipe, [])).recipe, 3).backbone.state_dict()
    mae = {k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")}
    for key, value in own.items():
        if key.startswith("decoder.") and "stem_proj" not in key:
            mae[key.replace(".", "_", 1)] = value
    return bytes(save_tensors({key: tensor.contiguous() for key, tensor in mae.items()}))
