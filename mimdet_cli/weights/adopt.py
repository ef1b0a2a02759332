"""A weights file of one's own as safetensors in the weights folder; pickles run nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import replacing, sha256
from mimdet_cli.weights.catalog import Entry
from mimdet_cli.weights.lock import Locked

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS = ".safetensors"
USUAL_WRAPPERS = ("model", "state_dict")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the file came from, for the record; of an import only its name is known."""

    file: str
    repo: str | None = None
    commit: str | None = None


def adopt(path: Path, name: str, entry: Entry, folder: Path, origin: Origin) -> Locked:
    """Write the tensors of `path` as `folder/NAME.safetensors`, and what to record of it."""
    from safetensors.torch import save_file

    tensors = _tensors(path)
    _check(tensors, entry, path)
    target = folder / f"{name}{SAFETENSORS}"
    with replacing(target) as partial:
        # clones, because the format refuses tensors that share their memory
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, partial)
    return Locked(
        file=origin.file,
        sha256=sha256(target),
        bytes=target.stat().st_size,
        repo=origin.repo,
        commit=origin.commit,
        source_sha256=sha256(path),
        stored=target.name,
        mtime_ns=target.stat().st_mtime_ns,
    )


def readable(path: Path) -> int:
    """How many tensors a safetensors file holds, by its header; a damaged one is an error."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return len(list(file.keys()))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"this is no safetensors file ({' '.join(str(error).split())}).",
            where=str(path),
            fix="only safetensors files are taken from repositories outside the catalogue; a .pth "
            "file is read by `mimdet pull --import FILE --as NAME --format FORMAT`.",
        ) from error


def _tensors(path: Path) -> "Mapping[str, Tensor]":
    """The only state dict of a file, or the one under a usual key."""
    from mimdet_cli.weights.read import read_tensors, wrappers

    found = wrappers(path)
    usual = [key for key in USUAL_WRAPPERS if key in found]
    if len(found) > 1 and not usual:
        names = " and ".join(f"'{key}'" for key in found)
        raise WeightsError(
            f"the file holds several models: {names}.",
            where=str(path),
            fix="save the one you mean to a file of its own with `torch.save`.",
        )
    return read_tensors(path, next(iter(usual or found), USUAL_WRAPPERS[0]))


def _check(tensors: "Mapping[str, Tensor]", entry: Entry, path: Path) -> None:
    """Refuse a file that lacks what the name promises, before it is recorded under it."""
    wrong = []
    for key, shape in entry.holds.items():
        found = tuple(tensors[key].shape) if key in tensors else None
        if found != tuple(shape):
            said = f"has shape {found}" if found else "is absent"
            wrong.append(f"'{key}' {said}, expected {tuple(shape)}")
    if wrong:
        raise WeightsError(
            f"this is not {entry.about}: {'; '.join(wrong)}.",
            where=str(path),
            fix=f"use {entry.where}." if entry.where else "use the file that the name promises.",
        )
