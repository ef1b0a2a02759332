"""Import a user's file into the weights folder as safetensors, without running pickled code."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import replacing, sha256
from mimdet_cli.progress import Progress
from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import CatalogEntry, entries, weights_folder
from mimdet_cli.weights.fetch_errors import writing
from mimdet_cli.weights.locate import known
from mimdet_cli.weights.lock import Locked
from mimdet_cli.weights.result import WeightsResult

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pth", ".pt", ".bin")
USUAL_WRAPPERS = ("model", "state_dict")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a file came from; of an imported one only its name is known."""

    file: str
    repo: str | None = None
    commit: str | None = None


def import_file(
    path: Path, name: str, layout: str | None, progress: Progress, *, relock: bool = False
) -> WeightsResult:
    """Import `path` under a known name, or under a new one with its key layout.

    With `relock` it may differ from what was recorded before.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", where="FILE", fix="correct the path.")
    entry = _entry(path, name, layout)
    shown_layout = f" --format {layout}" if layout else ""
    import_command = f"mimdet weights import {quote(str(path))} --as {name}{shown_layout}"
    relock_command = f"mimdet weights relock {name} --import {quote(str(path))}{shown_layout}"
    before = lock.read(weights_folder()).get(name)
    if before is not None and not relock:
        lock.refuse_other(name, before.upstream_sha256, sha256(path), path, relock_command)
    command = relock_command if relock else import_command
    with writing(weights_folder(), name, f"MIMDET_WEIGHTS=DIR {command}"):
        record = store(path, name, entry, Upstream(path.name))
        if name not in entries():
            record = replace(record, entry=entry)
        recorded = lock.write(weights_folder(), name, record, over=before)
    lock.announce(name, entry, before, recorded, progress)
    return WeightsResult.recorded(name, entry, recorded, here=False)


def store(path: Path, name: str, entry: CatalogEntry, upstream: Upstream) -> Locked:
    """Write the tensors of `path` as NAME.safetensors into the weights folder; its record."""
    from safetensors.torch import save_file

    tensors = _tensors(path)
    _check(tensors, entry, path)
    target = weights_folder() / f"{name}{SAFETENSORS}"
    with replacing(target) as partial:
        # clones, because the format refuses tensors that share memory
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, partial)
    return Locked(
        file=upstream.file,
        sha256=sha256(target),
        bytes=target.stat().st_size,
        repo=upstream.repo,
        commit=upstream.commit,
        source_sha256=sha256(path),
        stored=target.name,
        mtime_ns=target.stat().st_mtime_ns,
    )


def refuse_unreadable(path: Path) -> None:
    """A safetensors file must at least have a sound header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"this is not a safetensors file ({' '.join(str(error).split())}).",
            where=str(path),
            fix="repositories outside the catalogue must hold safetensors; for a .pth file of your "
            "own use `mimdet weights import FILE --as NAME --format FORMAT`.",
        ) from error


def refuse_format(name: str, layout: str | None) -> None:
    """The key layout of a known name is known."""
    if layout is not None:
        raise WeightsError(
            f"the key layout of '{name}' is known ({known()[name].format}).",
            where="--format",
            fix="omit --format; a single recipe can override it with `--set init.format=...`.",
        )


def refuse_unsafe(name: str) -> None:
    """A name becomes a file name, and `init.weights` must tell it from a path."""
    if not name or name[0] in ".-" or set(name) & set("/\\ ") or Path(name).suffix in SUFFIXES:
        raise WeightsError(
            f"'{name}' cannot be used as a name.",
            where="--as",
            fix="use letters, digits, dots, dashes and underscores, without a suffix like .pth.",
        )


def _entry(path: Path, name: str, layout: str | None) -> CatalogEntry:
    """The entry under which a file is imported: a known one, or a new one with its layout."""
    if name in entries():
        refuse_format(name, layout)
        return entries()[name]
    refuse_unsafe(name)
    if layout is not None:
        return CatalogEntry(f"imported from {path.name}", layout, "not known")
    if name in known():
        return known()[name]
    near = get_close_matches(name, known(), 1)
    meant = f"did you mean '{near[0]}'? Otherwise " if near else ""
    raise WeightsError(
        f"'{name}' is not a known name, and the key layout of a file is never guessed.",
        where="--as",
        fix=f"{meant}give the layout, for example `mimdet weights import {quote(str(path))} "
        f"--as {name} --format mae`.",
    )


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
            fix="save the one you want to a separate file with `torch.save`.",
        )
    return read_tensors(path, next(iter(usual or found), USUAL_WRAPPERS[0]))


def _check(tensors: "Mapping[str, Tensor]", entry: CatalogEntry, path: Path) -> None:
    """Refuse a file without the tensors that the catalogue expects under the name."""
    wrong = []
    for key, shape in entry.holds.items():
        found = tuple(tensors[key].shape) if key in tensors else None
        if found != tuple(shape):
            problem = f"has shape {found}" if found else "is missing"
            wrong.append(f"'{key}' {problem}, expected {tuple(shape)}")
    if wrong:
        raise WeightsError(
            f"this is not {entry.about}: {'; '.join(wrong)}.",
            where=str(path),
            fix=f"use {entry.where}." if entry.where else "use the file that the name refers to.",
        )
