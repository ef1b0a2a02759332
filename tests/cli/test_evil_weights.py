"""A weights file that would run code is refused by `mimdet train`, and nothing of it is run."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch


class MakesAFile:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def write(path: Path, content: object, form: str) -> None:
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "archive")


@pytest.mark.parametrize("form", ["archive", "before torch 1.6", "pickle"])
@pytest.mark.parametrize("place", ["beside the weights", "in their stead"])
def test_malicious_pickle_is_refused_and_its_file_is_not_made(
    mimdet, tiny, shapes, tmp_path, form, place
):
    made, evil, run = tmp_path / "made", tmp_path / "evil.pth", tmp_path / "run"
    payload = MakesAFile(made)
    beside = {"model": {"pos_embed": torch.zeros(1)}, "x": payload}
    write(evil, beside if place == "beside the weights" else payload, form)
    outcome = mimdet(
        "train", tiny, "--data", shapes, "--out", run,
        "--set", f"init.weights={evil}", "--set", "init.format=mae",
    )  # fmt: skip
    assert outcome.code == 4
    error, where, fix = outcome.err.splitlines()[-3:]
    if form == "archive":
        assert error == (
            f"error: the file would run code when opened ({os.name}.system), so it was refused."
        )
        assert where == f"  at:  {evil}"
        assert fix == "  fix: use a file of plain tensors, preferably safetensors."
    else:
        assert error.startswith("error: the file cannot be read: it is not a torch.save archive")
    assert not made.exists()
    assert not run.exists()
    code = f"import pickle, sys, torch; ({opener(form)})(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, evil], check=True)
    assert made.exists(), "the file is what the test says it is"


def opener(form: str) -> str:
    """How a careless program opens the file."""
    if form == "pickle":
        return "lambda path: pickle.load(open(path, 'rb'))"
    return "lambda path: torch.load(path, weights_only=False)"
