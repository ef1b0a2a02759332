"""Read the tensors of a weights file without running code that it may contain."""

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
"""First release whose `weights_only` is known to hold: CVE-2025-32434 and CVE-2026-24747 bypassed
earlier ones."""

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
    """Keys of a `.pth` file that hold a state dict each; none if the file is one itself."""
    if path.suffix == ".safetensors":  # cannot hold more than one
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
            "despite `weights_only`.",
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
            raise _damaged(path, ValueError("it was not written by torch.save")) from error
        raise WeightsError(
            f"the file would run code when opened ({wanted[1]}), so it was refused.",
            where=str(path),
            fix="use a file of plain tensors, preferably safetensors.",
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"the file holds a {type(state).__name__}, not a state dict.",
            where=str(path),
            fix="save the model's state_dict() instead.",
        )
    return state


def _no_archive(path: Path) -> WeightsError:
    """A bare pickle (detectron2's `.pkl`, torch's format before 1.6), a web page, a cut file."""
    return WeightsError(
        "the file cannot be read: it is not a torch.save archive, and no other pickle is opened.",
        where=f"{path}, {path.stat().st_size:,} bytes",
        fix="download it again; if it is intact but in an older format (torch before 1.6, "
        "detectron2's .pkl), save its tensors with `safetensors.torch.save_file`.",
    )


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
    return WeightsError(
        f"the file cannot be read: {reason.rstrip('.')}.",
        where=f"{path}, {path.stat().st_size:,} bytes",
        fix="download it again; it is damaged or cut short.",
    )
