"""Read the tensors of a weights file without running anything that it may contain."""

import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.torch_version import TorchVersion

from mimdet_cli.errors import WeightsError

SAFE_TORCH = "2.10"
"""First release whose `weights_only` is known to hold: CVE-2025-32434 and CVE-2026-24747 got
past that of earlier ones."""

# What unpickling a damaged file may raise, besides UnpicklingError.
DAMAGE = (
    RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, ImportError,
    TypeError, AssertionError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_tensors(path: Path, unwrap: str | None = None) -> dict[str, Tensor]:
    """State dict of a `.safetensors` file, or of a `.pth` file under the key `unwrap` if it has it.

    Pickles are opened with `weights_only=True`: one that needs more than tensors is refused.
    """
    state = _read(path)
    if unwrap is not None and isinstance(state.get(unwrap), dict):
        state = state[unwrap]
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(
            "the file holds no tensors.",
            where=str(path),
            fix=f"top-level keys are {sorted(map(str, state))[:5]}; expected a state dict"
            + (f" or one under '{unwrap}'." if unwrap else "."),
        )
    return tensors


def wrappers(path: Path) -> list[str]:
    """Keys of a `.pth` file under which there is a state dict each; none if it is one itself."""
    if path.suffix == ".safetensors":  # has no room for more than one
        return []
    state = _read(path)
    if any(isinstance(value, Tensor) for value in state.values()):
        return []
    return [
        key
        for key, inner in state.items()
        if isinstance(inner, dict) and any(isinstance(value, Tensor) for value in inner.values())
    ]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", where=str(path), fix="correct the path.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    if TorchVersion(torch.__version__) < SAFE_TORCH:
        raise WeightsError(
            f"pickled weights are not opened with torch {torch.__version__}: a file could run code "
            "in spite of `weights_only`.",
            where=str(path),
            fix=f"install torch {SAFE_TORCH} or newer, or use a .safetensors file.",
        )
    if not zipfile.is_zipfile(path):
        raise _no_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted is None:
            raise _damaged(path, ValueError("it is no file that torch.save made")) from error
        raise WeightsError(
            f"the file asks to run code while it is opened ({wanted[1]}), and was refused.",
            where=str(path),
            fix="use a file of plain tensors, best in safetensors form.",
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"the file holds a {type(state).__name__}, not a state dict.",
            where=str(path),
            fix="save the model's state_dict() and use that file.",
        )
    return state


def _no_archive(path: Path) -> WeightsError:
    """A bare pickle (detectron2's `.pkl`, torch's format of before 1.6), a web page, a cut file."""
    return WeightsError(
        "the file cannot be read: it is no archive of torch.save, and no other pickle is opened.",
        where=f"{path}, {path.stat().st_size:,} bytes",
        fix="fetch it again; if it is whole, and of an older format (torch before 1.6, "
        "detectron2's .pkl), save its tensors anew with `safetensors.torch.save_file`.",
    )


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return WeightsError(
        f"the file cannot be read: {reason.rstrip('.')}.",
        where=f"{path}, {path.stat().st_size:,} bytes",
        fix="fetch it again; it is damaged or cut short.",
    )
