"""Files of tensors are read; whatever else a file holds is refused and never run."""

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.read import read_tensors

TENSORS = {"a": torch.arange(1000.0), "b": torch.ones(2, 3)}


class RunsACommand:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def refusal(path, unwrap=None) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        read_tensors(path, unwrap)
    assert caught.value.exit_code == 4
    return caught.value


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_tensors_of_every_container_are_read(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    found = read_tensors(path)
    assert set(found) == {"a", "b"}
    assert all(torch.equal(found[key], TENSORS[key]) for key in found)


def test_weights_below_a_key_are_unwrapped_where_the_key_is(tmp_path):
    torch.save({"model": TENSORS, "epoch": 3}, tmp_path / "w.pth")
    assert set(read_tensors(tmp_path / "w.pth", "model")) == {"a", "b"}
    torch.save(TENSORS, tmp_path / "w.pth")
    assert set(read_tensors(tmp_path / "w.pth", "model")) == {"a", "b"}


def test_format_of_before_torch_1_6_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)
    error = refusal(path)
    assert error.what.endswith("it is not a torch.save archive, and no other pickle is opened.")
    assert "torch before 1.6" in error.fix
    assert "safetensors.torch.save_file" in error.fix


@pytest.mark.parametrize("version", ["2.9.1", "2.5.0+cu121", "1.13.1"])
def test_pickle_is_not_opened_by_a_torch_whose_guard_is_known_to_fail(
    tmp_path, monkeypatch, version
):
    torch.save(TENSORS, tmp_path / "w.pth")
    save_file(TENSORS, tmp_path / "w.safetensors")
    monkeypatch.setattr(torch, "__version__", version)
    assert refusal(tmp_path / "w.pth").fix == (
        "install torch 2.10 or newer, or use a .safetensors file."
    )
    assert set(read_tensors(tmp_path / "w.safetensors")) == {"a", "b"}


@pytest.mark.parametrize("version", ["2.10.0", "2.10.0+cpu", "2.15.0a0+git1234567", "3.0"])
def test_pickle_is_opened_by_later_ones(tmp_path, monkeypatch, version):
    torch.save(TENSORS, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "__version__", version)
    assert set(read_tensors(tmp_path / "w.pth")) == {"a", "b"}


def test_pickle_is_mapped_into_memory_and_read_as_tensors_alone(tmp_path, monkeypatch):
    torch.save(TENSORS, tmp_path / "w.pth")
    calls = []
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(k) or real(*a, **k))
    read_tensors(tmp_path / "w.pth")
    assert calls == [{"map_location": "cpu", "weights_only": True, "mmap": True}]


def test_file_that_wants_to_run_a_command_is_refused_and_does_not_run_it(tmp_path):
    made = tmp_path / "made"
    path = tmp_path / "w.pth"
    torch.save({**TENSORS, "x": RunsACommand(made)}, path)
    error = refusal(path)
    assert error.what == (
        f"the file would run code when opened ({os.name}.system), so it was refused."
    )
    assert error.where == str(path)
    assert not made.exists()
    torch.load(path, weights_only=False)  # the file is what the test says it is
    assert made.exists()


def test_plain_pickle_is_refused_and_not_run(tmp_path):
    made = tmp_path / "made"
    (tmp_path / "w.pth").write_bytes(pickle.dumps(RunsACommand(made), protocol=2))
    refusal(tmp_path / "w.pth")
    assert not made.exists()


def test_command_in_a_file_of_before_torch_1_6_is_not_run(tmp_path):
    made = tmp_path / "made"
    content = {**TENSORS, "x": RunsACommand(made)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    refusal(tmp_path / "w.pth")
    assert not made.exists()


def test_object_beside_the_tensors_is_named(tmp_path):
    torch.save({"model": TENSORS, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    assert "(argparse.Namespace)" in refusal(tmp_path / "w.pth").what


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_file_that_was_cut_short_is_called_damaged(tmp_path, name, share):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    error = refusal(path)
    assert error.what.startswith("the file cannot be read: ")
    assert "\n" not in error.what
    assert error.where == f"{path}, {path.stat().st_size:,} bytes"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_web_page_saved_as_weights_is_called_damaged(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_text("<html>404: not found</html>\n" * 20)
    assert refusal(path).what.startswith("the file cannot be read: ")


def test_file_without_tensors_says_what_it_holds(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"epoch": 3, "args": None}, path)
    error = refusal(path, "model")
    assert error.what == "the file holds no tensors."
    assert error.fix == (
        "top-level keys are ['args', 'epoch']; expected a state dict or one under 'model'."
    )
    torch.save([torch.ones(1)], path)
    assert refusal(path).what == "the file holds a list, not a state dict."


def test_missing_file_is_named(tmp_path):
    assert "does not exist" in refusal(tmp_path / "gone.pth").what
