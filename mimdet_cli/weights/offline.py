"""Weights for machines without network: copied to and from a folder, verified by hash."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import replacing, sha256
from mimdet_cli.progress import Progress
from mimdet_cli.weights import catalog, lock
from mimdet_cli.weights.catalog import CatalogEntry, entries, weights_folder
from mimdet_cli.weights.fetch_errors import writing
from mimdet_cli.weights.import_file import SAFETENSORS, refuse_unreadable
from mimdet_cli.weights.locate import known, on_disk, put_by_hand, refuse_changed
from mimdet_cli.weights.lock import Locked
from mimdet_cli.weights.result import WeightsResult


def copy_to(names: Sequence[str], folder: Path) -> list[WeightsResult]:
    """Copy weights of this machine and their records into `folder`; nothing if one is missing."""
    found: list[tuple[str, Locked, Path]] = []
    errors: list[WeightsError] = []
    for name in dict.fromkeys(names):
        try:
            found.append((name, *_recorded(name)))
        except WeightsError as error:
            errors.append(error)
    if errors:
        raise WeightsError.joined(errors)
    done = []
    for name, record, source in found:
        copy = _copy(source, name, record, folder, f"mimdet weights export {name} --to DIR")
        stored = WeightsResult.recorded(name, _entry(name, record), record, here=True)
        done.append(replace(stored, path=copy))
    return done


def take_from(
    folder: Path, names: Sequence[str], progress: Progress, *, relock: bool
) -> list[WeightsResult]:
    """Take weights from a folder that `copy_to` filled: the named ones, or all.

    With `relock` they may differ from what was recorded here.
    """
    there = lock.read(folder)
    if not there:
        raise WeightsError(
            f"there are no weights in {folder}: it has no {lock.NAME}.",
            where="--from",
            fix="use a folder filled by `mimdet weights export NAME --to DIR`.",
        )
    absent = [name for name in names if name not in there]
    if absent:
        raise WeightsError(
            f"{folder} does not hold {', '.join(absent)}.",
            where="--from",
            fix=f"it holds {', '.join(there)}; add more with "
            f"`mimdet weights export {absent[0]} --to DIR`.",
        )
    errors: list[WeightsError] = []
    done: list[WeightsResult] = []
    for name in names or there:
        try:
            done.append(_take(name, there[name], folder, progress, relock=relock))
        except WeightsError as error:
            errors.append(error)
    if errors:
        raise WeightsError.joined(errors)
    return done


def _recorded(name: str) -> tuple[Locked, Path]:
    """The record of a name and its unchanged file on this machine."""
    if name not in known():
        near = get_close_matches(name, known(), 1)
        raise WeightsError(
            f"'{name}' is not a known name.",
            fix=f"did you mean '{near[0]}'?" if near else "`mimdet weights ls` lists the names.",
        )
    record = lock.read(weights_folder()).get(name)
    unrecorded = put_by_hand(name) if record is None else None
    if unrecorded is not None:
        raise WeightsError(
            f"'{name}' has no record: its file was put into the weights folder by hand.",
            where=str(unrecorded),
            fix=f"`mimdet weights import {quote(str(unrecorded))} --as {name}` records it.",
        )
    path = on_disk(record) if record else None
    if record is None or path is None:
        on_the_hub = known()[name].repo is not None
        command = f"pull {name}" if on_the_hub else f"weights import FILE --as {name}"
        raise WeightsError(f"'{name}' is not on this machine.", fix=f"`mimdet {command}` first.")
    refuse_changed(name, record, path)
    return record, path


def _take(
    name: str, record: Locked, folder: Path, progress: Progress, *, relock: bool
) -> WeightsResult:
    path = folder / (record.stored or f"{name}{SAFETENSORS}")
    if not path.is_file() or sha256(path) != record.sha256:
        raise WeightsError(
            f"'{name}' is damaged: its file does not match the record beside it.",
            where=str(path),
            fix=f"copy the folder again, or fill it again with "
            f"`mimdet weights export {name} --to DIR`.",
        )
    refuse_unreadable(path)
    entry = _entry(name, record)
    before = lock.read(weights_folder()).get(name)
    relock_command = f"mimdet weights relock {name} --from {quote(str(folder))}"
    import_command = (
        f"mimdet weights import {quote(str(path))} --as {name}-other --format {entry.format}"
    )
    catalog.refuse_other(name, entry, record.upstream_sha256, path, import_command)
    if before is not None and not relock:
        lock.refuse_other(
            name, before.upstream_sha256, record.upstream_sha256, path, relock_command
        )
    command = relock_command if relock else f"mimdet pull {name} --from {quote(str(folder))}"
    _copy(path, name, record, weights_folder(), f"MIMDET_WEIGHTS=DIR {command}")
    recorded = lock.read(weights_folder())[name]
    lock.announce(name, entry, before, recorded, progress)
    return WeightsResult.recorded(name, entry, recorded, here=False)


def _copy(source: Path, name: str, record: Locked, folder: Path, elsewhere: str) -> Path:
    """Copy the file and its record into `folder`; the command `elsewhere` uses another one."""
    target = folder / f"{name}{SAFETENSORS}"
    with writing(folder, name, elsewhere):
        if not (target.exists() and target.samefile(source)):
            with replacing(target) as partial:
                shutil.copyfile(source, partial)
                if sha256(partial) != record.sha256:
                    raise WeightsError(
                        f"the copy of '{name}' differs from the original.",
                        where=str(target),
                        fix="check the disk, then run the command again.",
                    )
        stored = replace(record, stored=target.name, mtime_ns=target.stat().st_mtime_ns)
        lock.write(folder, name, stored, over=lock.read(folder).get(name))
    return target


def _entry(name: str, record: Locked) -> CatalogEntry:
    entry = record.entry or entries().get(name)
    if entry is None:
        raise WeightsError(
            f"this version of mimdet does not know '{name}', and its record does not describe it.",
            where=lock.NAME,
            fix="use the version of mimdet that pulled it.",
        )
    return entry
