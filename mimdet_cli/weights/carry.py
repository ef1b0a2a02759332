"""Weights carried between machines in a folder: files with their lock file, verified by hash."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import replacing, sha256
from mimdet_cli.progress import Progress
from mimdet_cli.weights import lock
from mimdet_cli.weights.adopt import readable
from mimdet_cli.weights.asking import SAFETENSORS
from mimdet_cli.weights.catalog import Entry, entries, folder
from mimdet_cli.weights.lock import Locked
from mimdet_cli.weights.pull import compare, tell_first
from mimdet_cli.weights.pulled import Pulled
from mimdet_cli.weights.store_errors import writing


def carry_out(names: Iterable[str], to: Path) -> list[Path]:
    """Copy pulled weights and their records into `to`."""
    records = lock.read(folder())
    copies = []
    for one in names:
        record = records[one]
        source = Pulled.recorded(one, _entry(one, record), record, here=True).path
        assert source is not None
        copies.append(_copy(source, one, record, to, f"mimdet pull {one} --to DIR"))
    return copies


def carry_in(names: Sequence[str], source: Path, relock: bool, progress: Progress) -> list[Pulled]:
    """Take weights from a folder that `carry_out` filled: the named ones, or all.

    With `relock` they may differ from what was recorded here.
    """
    there = lock.read(source)
    if not there:
        raise WeightsError(
            f"there are no weights in {source}: it has no {lock.NAME}.",
            where="--from",
            fix="name a folder that `mimdet pull NAME --to DIR` has filled.",
        )
    absent = [name for name in names if name not in there]
    if absent:
        raise WeightsError(
            f"{source} does not have {', '.join(absent)}.",
            where="--from",
            fix=f"it has {', '.join(there)}; add more with `mimdet pull {absent[0]} --to DIR`.",
        )
    errors: list[WeightsError] = []
    done: list[Pulled] = []
    for name in names or there:
        try:
            done.append(_take(name, there[name], source, relock, progress))
        except WeightsError as error:
            errors.append(error)
    if errors:
        raise WeightsError.joined(errors)
    return done


def _take(name: str, record: Locked, source: Path, relock: bool, progress: Progress) -> Pulled:
    path = source / (record.stored or f"{name}{SAFETENSORS}")
    if not path.is_file() or sha256(path) != record.sha256:
        raise WeightsError(
            f"'{name}' was damaged on its way: it is not the file of its record.",
            where=str(path),
            fix=f"copy the folder again, or fill it again with `mimdet pull {name} --to DIR`.",
        )
    readable(path)
    entry = _entry(name, record)
    before = lock.read(folder()).get(name)
    command = f"mimdet pull {name} --from {quote(str(source))}"
    if entry.sha256 is not None:
        compare(name, entry.sha256, record.upstream_sha256, path, command)
    if before is not None and not relock:
        compare(name, before.upstream_sha256, record.upstream_sha256, path, command)
    _copy(path, name, record, folder(), f"MIMDET_WEIGHTS=DIR {command}")
    now = lock.read(folder())[name]
    if before is None:
        tell_first(name, entry, now, progress)
    return Pulled.recorded(name, entry, now, here=False)


def _copy(source: Path, name: str, record: Locked, to: Path, instead: str) -> Path:
    """The file and its record in `to`; the command `instead` takes another folder."""
    target = to / f"{name}{SAFETENSORS}"
    with writing(to, name, instead):
        if not (target.exists() and target.samefile(source)):
            with replacing(target) as partial:
                shutil.copyfile(source, partial)
                if sha256(partial) != record.sha256:
                    raise WeightsError(
                        f"the copy of '{name}' is not what was copied.",
                        where=str(target),
                        fix="look at the disk; then run the command again.",
                    )
        status = target.stat()
        stored = replace(record, stored=target.name, mtime_ns=status.st_mtime_ns)
        lock.write(to, name, stored, over=lock.read(to).get(name))
    return target


def _entry(name: str, record: Locked) -> Entry:
    known = record.entry or entries().get(name)
    if known is None:
        raise WeightsError(
            f"'{name}' is in no catalogue of this version of mimdet, and its record has no entry.",
            where=lock.NAME,
            fix="use the version of mimdet that pulled it.",
        )
    return known
