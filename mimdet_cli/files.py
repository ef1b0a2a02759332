"""Atomic writes of files and folders, and small file helpers."""

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
"""Names of temporary folders that are being filled or removed."""
REMAINS_S = 24 * 3600
"""A temporary folder that has not changed for this long belongs to a killed process."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that is renamed to `path` on success; creates the parent folder.

    Its name is unique, so that concurrent writers, even on other machines, do not collide.
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
    """Write `text` to a file, atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(path: Path, what: str, *, fix: str = "give another folder.") -> None:
    """Create a folder and its parents unless it exists; errors call it `what`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot create {what}: {error.strerror}.", where=str(path), fix=fix
        ) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that replaces `path` on success.

    Its name is unique. Leftovers of killed processes beside it are removed after a day.
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
    """Rename a folder to `path`; retried while other processes do the same, the last one wins."""
    while True:
        try:
            partial.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            old = _beside(path, "old")
            with suppress(FileNotFoundError):  # another process has moved it already
                path.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        else:
            return


def _remove_remains(folder: Path) -> None:
    for path in folder.iterdir():
        if REMAINS.fullmatch(path.name):
            with suppress(FileNotFoundError):  # its own process is removing it
                changed = max(file.stat().st_mtime for file in (path, *path.rglob("*")))
                if changed < time.time() - REMAINS_S:
                    shutil.rmtree(path, ignore_errors=True)


def _mode_of_new(path: Path) -> int:
    """The permissions that the user's umask gives to a new file at `path`, which must not exist."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def _finish(file: Path, mode: int) -> None:
    """Set the permissions and flush the content to disk before the file is renamed.

    Some libraries, safetensors among them, create files that only their owner can read.
    """
    if stat.S_IMODE(file.stat().st_mode) != mode:
        file.chmod(mode)
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_sha1(path: Path) -> str:
    """Hexadecimal SHA-1 by which git, and so the Hub, names a file that is stored without LFS."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link `source` to `target`, or copy it where links are not supported."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
