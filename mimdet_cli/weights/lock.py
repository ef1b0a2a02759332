"""The lock file of a weights folder: the commit and hash of every name that was pulled.

The first pull of a name records what the Hub resolved it to; every later pull and every use must
match. Only `mimdet weights relock NAME` replaces a record.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256, write_text
from mimdet_cli.progress import Progress
from mimdet_cli.weights.catalog import CatalogEntry, weights_folder

NAME = "weights.lock.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Locked:
    """The record of one name.

    `sha256`, `bytes`: of the safetensors file that is read.
    `repo`, `file`, `commit`: where it came from; an import has only the file.
    `source_sha256`: of the pickle from which the safetensors file was written, if any.
    `stored`: its file in the weights folder; None: in the Hub's cache.
    `mtime_ns`: time stamp of the file when its hash was last computed on this machine.
    `entry`: the entry of a name that is not in the catalogue.
    """

    file: str
    sha256: str
    bytes: int
    repo: str | None = None
    commit: str | None = None
    source_sha256: str | None = None
    stored: str | None = None
    mtime_ns: int | None = None
    entry: CatalogEntry | None = None

    @property
    def upstream_sha256(self) -> str:
        """Hash of the file as it was fetched or imported."""
        return self.source_sha256 or self.sha256


def read(folder: Path) -> dict[str, Locked]:
    """Every record of the folder's lock file; none if there is no such file."""
    path = folder / NAME
    try:
        data = json.loads(path.read_text("utf-8"))
        return {name: _record(fields) for name, fields in data["weights"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"the lock file cannot be read ({' '.join(str(error).split())}).",
            where=str(path),
            fix=f"restore it, or delete it (`rm {path}`): later pulls then record what they find.",
        ) from error


def write(folder: Path, name: str, record: Locked, over: Locked | None) -> Locked:
    """Replace `over` (None: no record) by `record`, and return what is then recorded.

    That is another process's record if it was changed since `over` was read.
    """
    with _alone(folder):
        records = read(folder)
        if records.get(name) != over:
            return records.get(name, record)
        records[name] = record
        data = {key: _fields(value) for key, value in sorted(records.items())}
        text = json.dumps({"version": VERSION, "weights": data}, indent=1, ensure_ascii=False)
        write_text(folder / NAME, text + "\n")
        return record


def intact(folder: Path, name: str, record: Locked, path: Path) -> bool:
    """Whether `path` is the recorded file: by size and time stamp, else by its hash.

    A hash that was right leaves the new time stamp in the record.
    """
    if not path.is_file():
        return False
    status = path.stat()
    if status.st_size != record.bytes:
        return False
    if status.st_mtime_ns == record.mtime_ns:
        return True
    if sha256(path) != record.sha256:
        return False
    with suppress(OSError):  # in a read-only folder the file is hashed again next time
        write(folder, name, replace(record, mtime_ns=status.st_mtime_ns), over=record)
    return True


def refuse_other(name: str, recorded: str, found: str, path: Path, relock_command: str) -> None:
    """Refuse a file whose hash is not the recorded one."""
    if recorded != found:
        raise WeightsError(
            f"'{name}' is not the recorded file: its sha256 is {found}, recorded is {recorded}.",
            where=f"{path}; the record is in {weights_folder() / NAME}",
            fix=f"find out why first; `{relock_command}` accepts the new file.",
        )


def announce(
    name: str, entry: CatalogEntry, before: Locked | None, record: Locked, progress: Progress
) -> None:
    """Report a new or changed record: what is recorded, and on the first time the licence."""
    commit = f"commit {record.commit} and " if record.commit else ""
    recorded = f"recorded {commit}sha256 {record.upstream_sha256}"
    if before is not None:
        if before.upstream_sha256 != record.upstream_sha256:
            progress.say(f"{name}: {recorded} instead of {before.upstream_sha256}")
        return
    progress.say(
        f"{name}: first time on this machine; {recorded} in {weights_folder() / NAME}, which "
        "later pulls must match"
    )
    shown = record.entry or entry
    progress.say(f"{name}: licence: {shown.licence}")
    if shown.licence_note:
        progress.warn(f"{name}: {shown.licence_note}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{NAME}.held").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _record(fields: Mapping[str, Any]) -> Locked:
    entry = fields.get("entry")
    return Locked(**{**fields, "entry": CatalogEntry.from_data(entry) if entry else None})


def _fields(record: Locked) -> dict[str, Any]:
    """The fields of the record that have a value."""
    fields = asdict(record)
    if record.entry is not None:
        fields["entry"] = {k: v for k, v in asdict(record.entry).items() if v not in (None, {})}
    return {key: value for key, value in fields.items() if value is not None}
