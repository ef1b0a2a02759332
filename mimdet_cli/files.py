"""Files and folders that appear whole or not at all."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimdet_cli.errors import ResourceError

REMAINS = re.compile(r"\..+\.[0-9a-f]{8}\.mimdet-(partial|old)")
"""Names of folders that are being filled or removed."""
REMAINS_S = 24 * 3600
"""After so long without a change such a folder is of a process that was killed."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill, renamed to `path` on success; nobody else, on any machine, fills the same.

    The folder is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    mode = _mode_of_new(partial)
    try:
        yield partial
        _finish(partial, mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put `text` in the place of what the file holds."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(path: Path, what: str, *, fix: str = "give another folder.") -> None:
    """Make a folder, called `what` in the error, and those above it; it may be there already."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{what} cannot be made: {error.strerror}.", where=str(path), fix=fix
        ) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `path` on success; an older one there is replaced.

    Nobody else fills the same. What killed processes left beside it is removed after a day.
    """
    partial = _beside(path, "partial")
    partial.mkdir(parents=True)
    try:
        mode = _mode_of_new(partial / ".mode")
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _finish(file, mode)
        _put(partial, path)
        _remove_remains(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _beside(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.mimdet-{state}")


def _put(partial: Path, path: Path) -> None:
    """Rename a folder to `path`, as often as another process is there first; the last one stays."""
    while True:
        try:
            partial.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            old = _beside(path, "old")
            with suppress(FileNotFoundError):  # the other process has moved it away
                path.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        else:
            return


def _remove_remains(folder: Path) -> None:
    for one in folder.iterdir():
        if REMAINS.fullmatch(one.name):
            with suppress(FileNotFoundError):  # it is being removed by its own process
                changed = max(file.stat().st_mtime for file in (one, *one.rglob("*")))
                if changed < time.time() - REMAINS_S:
                    shutil.rmtree(one, ignore_errors=True)


def _mode_of_new(path: Path) -> int:
    """The permissions of a file that is made at `path`, where none is, as the user asks for."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _finish(file: Path, mode: int) -> None:
    """Have the content on the disk before the name says that it is there, for all who may read it.

    Some libraries, safetensors among them, make files that only their owner may read.
    """
    if stat.S_IMODE(file.stat().st_mode) != mode:
        file.chmod(mode)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes at `target`, sharing the disk space where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
