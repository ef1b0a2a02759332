"""Fetch weights, import a file as weights, and hold both to what was recorded the first time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256
from mimdet_cli.progress import Progress
from mimdet_cli.weights import hub, lock
from mimdet_cli.weights.adopt import Origin, adopt, readable
from mimdet_cli.weights.asking import MODEL, SAFETENSORS, Asked, Choice, asked, entry_of_import
from mimdet_cli.weights.catalog import Entry, entries, folder
from mimdet_cli.weights.hub import Fetched, Wanted
from mimdet_cli.weights.locate import on_disk
from mimdet_cli.weights.lock import Locked
from mimdet_cli.weights.pulled import Pulled
from mimdet_cli.weights.store_errors import writing


def pull(
    names: Sequence[str], choice: Choice, *, dry_run: bool, progress: Progress
) -> list[Pulled]:
    """Every name, also those after one that fails; all errors at the end."""
    done: list[Pulled] = []
    errors: list[WeightsError] = []
    for name in dict.fromkeys(names):
        try:
            done.append(_pull_one(asked(name, choice), choice, dry_run, progress))
        except WeightsError as error:
            errors.append(error)
    if errors:
        for one in done:
            progress.say(one.line())
        raise WeightsError.joined(errors)
    return done


def import_file(path: Path, name: str, choice: Choice, progress: Progress) -> Pulled:
    """Take a file of one's own as known weights, or under a new name with its format."""
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.", where="--import", fix="correct the path.")
    entry = entry_of_import(path, name, choice)
    command = f"mimdet pull --import {quote(str(path))} --as {name}"
    command += f" --format {choice.format}" if choice.format else ""
    before = lock.read(folder()).get(name)
    if before is not None and not choice.relock:
        compare(name, before.upstream_sha256, sha256(path), path, command)
    with writing(folder(), name, f"MIMDET_WEIGHTS=DIR {command}"):
        record = adopt(path, name, entry, folder(), Origin(path.name))
        if name not in entries():
            record = replace(record, entry=entry)
        now = lock.write(folder(), name, record, over=before)
    if before is None:
        tell_first(name, entry, now, progress)
    return Pulled.recorded(name, entry, now, here=False)


def compare(name: str, recorded: str, found: str, path: Path, command: str) -> None:
    """Refuse a file of another hash than the recorded one."""
    if recorded != found:
        raise WeightsError(
            f"'{name}' is not the file it was: its sha256 is {found}, recorded is {recorded}.",
            where=f"{path}; the record is in {folder() / lock.NAME}",
            fix=f"find out why first; `{command} --relock` accepts the new file.",
        )


def tell_first(name: str, entry: Entry, record: Locked, progress: Progress) -> None:
    """Say once what is recorded from now on, and what the licence is."""
    commit = f"commit {record.commit} and " if record.commit else ""
    progress.say(
        f"{name}: first time here; {commit}sha256 {record.upstream_sha256} are recorded in "
        f"{folder() / lock.NAME}, and later pulls must match"
    )
    shown = record.entry or entry
    progress.say(f"{name}: licence: {shown.licence}")
    if shown.licence_note:
        progress.warn(f"{name}: {shown.licence_note}")


def _pull_one(one: Asked, choice: Choice, dry_run: bool, progress: Progress) -> Pulled:
    recorded = lock.read(folder()).get(one.name)
    before = None if choice.relock else recorded
    if before is not None and not choice.file and not choice.revision and _is_here(before):
        return Pulled.recorded(one.name, one.entry, before, here=True)
    wanted = _wanted(one, choice, before)
    if dry_run:
        found = hub.offer(wanted)
        where = (wanted.repo, wanted.file, found.commit)
        hashed = before.upstream_sha256 if before else one.entry.sha256
        return Pulled(one.name, one.entry, *where, hashed, found.bytes, None, found.cached)
    fetched = _right(wanted, one, before, progress)
    with writing(folder(), one.name, f"MIMDET_WEIGHTS=DIR {one.command}"):
        record = _record(wanted, one, before, fetched)
        now = lock.write(folder(), one.name, record, over=recorded)
    compare(one.name, now.upstream_sha256, record.upstream_sha256, fetched.path, one.command)
    if recorded is None:
        tell_first(one.name, one.entry, now, progress)
    return Pulled.recorded(one.name, one.entry, now, here=not fetched.fresh)


def _is_here(record: Locked) -> bool:
    """Whether the recorded file is on this machine, by its hash."""
    path = on_disk(record)
    return path is not None and sha256(path) == record.sha256


def _wanted(one: Asked, choice: Choice, before: Locked | None) -> Wanted:
    """The file to fetch: as chosen, else as recorded, else as in the catalogue."""
    if one.entry.repo is None:
        raise WeightsError(
            f"'{one.name}' ({one.entry.about}) is not on the Hub.",
            where=one.entry.where or "",
            fix=f"get the file there, then `mimdet pull --import FILE --as {one.name}`.",
        )
    # an import under the name of a repository records no commit
    before = before if before and before.repo else None
    file = choice.file or (before.file if before else one.entry.file) or MODEL
    pinned = (before.commit if before else one.entry.revision) or one.entry.ref
    return Wanted(one.name, one.entry.repo, file, choice.revision or pinned, one.command)


def _right(wanted: Wanted, one: Asked, before: Locked | None, progress: Progress) -> Fetched:
    """The file with the hash of the catalogue or the record; a wrong one is not kept."""
    recorded = one.entry.sha256 or (before.upstream_sha256 if before else None)
    fetched = hub.fetch(wanted, progress)
    if recorded in (None, fetched.sha256):
        return fetched
    if not fetched.fresh and not hub.offline():
        progress.warn(f"{wanted.name}: the cached file is not the recorded one; fetching it again")
        fetched = hub.refetch(wanted, progress)
    if fetched.fresh and fetched.sha256 != recorded:
        hub.discard(fetched.path)
    compare(wanted.name, str(recorded), fetched.sha256, fetched.path, wanted.command)
    return fetched


def _record(wanted: Wanted, one: Asked, before: Locked | None, fetched: Fetched) -> Locked:
    if not wanted.file.endswith(SAFETENSORS):
        origin = Origin(wanted.file, wanted.repo, fetched.commit)
        return adopt(fetched.path, wanted.name, one.entry, folder(), origin)
    try:
        readable(fetched.path)
    except WeightsError:
        hub.discard(fetched.path)
        raise
    entry = before.entry if before else None
    if one.own and entry is None:
        entry = replace(one.entry, licence=hub.licence(wanted))
    status = fetched.path.stat()
    return Locked(
        file=wanted.file,
        sha256=fetched.sha256,
        bytes=status.st_size,
        repo=wanted.repo,
        commit=fetched.commit,
        mtime_ns=status.st_mtime_ns,
        entry=entry,
    )
