"""Checkpoints count only when they are whole, and restore everything."""

import json
import os
import shutil
import stat

import pytest
import torch
from torch import nn

from mimdet_cli.engine.checkpoint import (
    MANIFEST,
    MODEL,
    OPTIMIZER,
    is_whole,
    read_manifest,
    restore,
    save_step,
    save_weights,
    steps,
)
from mimdet_cli.engine.optimizer_state import collect
from mimdet_cli.engine.state import TrainState
from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256

TEXTS = {"recipe.yaml": "name: x\n", "classes.json": "[]\n"}


def fresh(seed: int = 0, width: int = 4, layout=torch.contiguous_format) -> TrainState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 1, 1))
    model.to(memory_format=layout)
    return TrainState(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.1, fused=True),
        torch.amp.GradScaler("cpu", enabled=False),
    )


def train(state: TrainState, count: int) -> None:
    for _ in range(count):
        torch.manual_seed(state.step)
        state.model(torch.randn(5, 3, 4, 4)).square().mean().backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1


def saved(run, count: int, keep: int = 9, layout=torch.contiguous_format) -> TrainState:
    state = fresh(layout=layout)
    for _ in range(count):
        train(state, 1)
        save_step(run, state, TEXTS, keep=keep)
    return state


def test_step_holds_model_optimizer_and_texts_under_a_manifest(tmp_path):
    saved(tmp_path, 1)
    folder = tmp_path / "step-1"
    files = {MODEL, OPTIMIZER, *TEXTS}
    assert {path.name for path in folder.iterdir()} == files | {MANIFEST}
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["step"] == 1
    assert set(manifest["files"]) == files
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == sha256(folder / name)
        assert entry["bytes"] == (folder / name).stat().st_size


def test_last_is_the_newest_step_without_the_optimizer(tmp_path):
    saved(tmp_path, 2)
    last = tmp_path / "last"
    assert {path.name for path in last.iterdir()} == {MODEL, MANIFEST, *TEXTS}
    assert (last / MODEL).read_bytes() == (tmp_path / "step-2" / MODEL).read_bytes()
    assert read_manifest(last)["step"] == 2
    assert is_whole(last)


def test_every_file_can_be_read_by_those_whom_the_umask_lets(tmp_path):
    before = os.umask(0o022)
    try:
        saved(tmp_path, 1)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}


@pytest.mark.parametrize("keep", [1, 2])
def test_only_the_newest_steps_are_kept(tmp_path, keep):
    saved(tmp_path, 4, keep=keep)
    assert steps(tmp_path) == [1, 2, 3, 4][-keep:]
    assert len(list(tmp_path.glob("step-*"))) == keep


def test_steps_are_ordered_as_numbers(tmp_path):
    saved(tmp_path, 1)
    shutil.copytree(tmp_path / "step-1", tmp_path / "step-10")
    shutil.copytree(tmp_path / "step-1", tmp_path / "step-9")
    (tmp_path / "step-final").mkdir()
    assert steps(tmp_path) == [1, 9, 10]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text('{"step": 2, "fi'),
        lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
        lambda folder: (folder / MANIFEST).write_text('{"step": 2}'),
        lambda folder: (folder / OPTIMIZER).unlink(),
        lambda folder: (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-1]),
    ],
    ids=["unsealed", "cut", "binary", "list", "no files", "file gone", "file cut"],
)
def test_damaged_step_does_not_count(tmp_path, damage):
    saved(tmp_path, 2)
    damage(tmp_path / "step-2")
    assert not is_whole(tmp_path / "step-2")
    assert steps(tmp_path) == [1]


def test_folder_without_manifest_is_explained(tmp_path):
    with pytest.raises(WeightsError, match="not a whole checkpoint") as caught:
        read_manifest(tmp_path)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_restored_state_goes_on_bit_for_bit(tmp_path, layout):
    whole = fresh(layout=layout)
    train(whole, 4)
    saved(tmp_path, 2, layout=layout)
    state = fresh(seed=1, layout=layout)
    restore(state, tmp_path / "step-2")
    assert state.step == 2
    train(state, 2)
    assert state.step == whole.step
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor), name
    moments = collect(whole.model, whole.optimizer).tensors
    assert len(moments) == 3 * 6
    restored = collect(state.model, state.optimizer).tensors
    assert restored.keys() == moments.keys()
    for name, tensor in restored.items():
        assert torch.equal(moments[name], tensor), name


def test_state_of_the_loss_scale_is_restored(tmp_path):
    state = fresh()
    state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    state.scaler.scale(torch.ones(1))  # the scale is set on first use
    state.scaler.update(new_scale=256.0)
    train(state, 1)
    save_step(tmp_path, state, TEXTS, keep=1)
    other = fresh()
    other.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    restore(other, tmp_path / "step-1")
    assert other.scaler.get_scale() == 256.0


def test_checkpoint_of_another_model_is_refused(tmp_path):
    saved(tmp_path, 1)
    with pytest.raises(WeightsError, match="does not fit this recipe") as caught:
        restore(fresh(width=5), tmp_path / "step-1")
    assert caught.value.where == str(tmp_path / "step-1")


def test_weights_alone_carry_the_facts_they_were_chosen_for(tmp_path):
    state = saved(tmp_path, 1)
    save_weights(tmp_path / "best", state, TEXTS, {"box_ap": 12.5})
    manifest = read_manifest(tmp_path / "best")
    assert (manifest["step"], manifest["box_ap"]) == (1, 12.5)
    assert is_whole(tmp_path / "best")
    assert not (tmp_path / "best" / OPTIMIZER).exists()
