"""The lock file of a weights folder: which commit and hash every pulled name has from now on.

The first pull of a name records what the Hub resolved it to; every later pull and every use must
match. A name may be released from its record only by `mimdet pull NAME --relock`.
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
from mimdet_cli.weights.catalog import Entry

NAME = "weights.lock.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Locked:
    """What one name is.

    `sha256`, `bytes`: of the safetensors file that is read.
    `repo`, `file`, `commit`: where it came from; an import has only the file.
    `source_sha256`: of the pickle that the safetensors file was written from, if it was.
    `stored`: its file in the weights folder; None is the Hub cache.
    `mtime_ns`: time stamp of the file when its hash was last computed on this machine.
    `entry`: what the catalogue would say, for names that are not in it.
    """

    file: str
    sha256: str
    bytes: int
    repo: str | None = None
    commit: str | None = None
    source_sha256: str | None = None
    stored: str | None = None
    mtime_ns: int | None = None
    entry: Entry | None = None

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
            fix=f"restore it, or delete it (`rm {path}`): pulls then record what they find anew.",
        ) from error


def write(folder: Path, name: str, record: Locked, over: Locked | None) -> Locked:
    """Put `record` in the place of `over` (None: of nothing), and return what is recorded now.

    That is another process's record, if one has changed it since `over` was read.
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
    with suppress(OSError):  # a folder that is only read keeps its stamp, and hashes again
        write(folder, name, replace(record, mtime_ns=status.st_mtime_ns), over=record)
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{NAME}.held").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _record(fields: Mapping[str, Any]) -> Locked:
    entry = fields.get("entry")
    return Locked(**{**fields, "entry": Entry.from_data(entry) if entry else None})


def _fields(record: Locked) -> dict[str, Any]:
    """The record without what it leaves open."""
    fields = asdict(record)
    if record.entry is not None:
        fields["entry"] = {k: v for k, v in asdict(record.entry).items() if v not in (None, {})}
    return {key: value for key, value in fields.items() if value is not None}
