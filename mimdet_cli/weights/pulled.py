"""What `mimdet pull` reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimdet_cli.weights.catalog import Entry
from mimdet_cli.weights.locate import on_disk
from mimdet_cli.weights.lock import Locked

MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Pulled:
    """Weights that are on this machine, or would be fetched: then `path` is None.

    `here` says that nothing had, or has, to be fetched.
    """

    name: str
    entry: Entry
    repo: str | None
    file: str
    commit: str | None
    sha256: str | None
    bytes: int
    path: Path | None
    here: bool

    @classmethod
    def recorded(cls, name: str, entry: Entry, record: Locked, *, here: bool) -> "Pulled":
        """Weights that lie where their record says."""
        return cls(
            name=name,
            entry=record.entry or entry,
            repo=record.repo,
            file=record.file,
            commit=record.commit,
            sha256=record.upstream_sha256,
            bytes=record.bytes,
            path=on_disk(record),
            here=here,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "name": self.name,
            "about": self.entry.about,
            "repo": self.repo,
            "file": self.file,
            "commit": self.commit,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "format": self.entry.format,
            "family": self.entry.family,
            "licence": self.entry.licence,
            "licence_note": self.entry.licence_note,
            "path": None if self.path is None else str(self.path),
            "cached": self.here,
        }

    def line(self) -> str:
        """One line for a person."""
        size = f"{self.bytes / MEGA:,.1f} MB"
        if self.path is not None:
            return f"{self.name}: {size}, {'already here' if self.here else 'new'}: {self.path}"
        what = "is in the cache" if self.here else "would be fetched"
        return f"{self.name}: {size} {what}: {self.repo}, {self.file} at {self.commit}"
