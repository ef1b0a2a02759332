"""Files and folders that appear whole or not at all."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimdet_cli.errors import ResourceError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill, renamed to `path` on success; nobody else, on any machine, fills the same.

    The folder is made if there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Put `text` in the place of what the file holds."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_folder(path: Path, what: str, *, fix: str = "give another folder with --out.") -> None:
    """Make a folder, called `what` in the error, and those above it; it may be there already."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{what} cannot be made: {error.strerror}.", where=str(path), fix=fix
        ) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `path` on success; an older one there is replaced."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(file: Path) -> None:
    """Have the content on the disk before the name says that it is there."""
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
