"""What is reported of weights: the result of a pull or an import, and the list of all names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import CatalogEntry, weights_folder
from mimdet_cli.weights.locate import known, on_disk, put_by_hand
from mimdet_cli.weights.lock import Locked

HEADER = ("name", "contents", "size", "licence", "source", "cached")
DISPUTED = "disputed"
MEGA = 1e6


@dataclass(frozen=True, slots=True)
class WeightsResult:
    """Weights that are on this machine, or would be fetched: then `path` is None.

    `here` says that nothing had, or has, to be fetched.
    """

    name: str
    entry: CatalogEntry
    repo: str | None
    file: str
    commit: str | None
    sha256: str | None
    bytes: int
    path: Path | None
    here: bool

    @classmethod
    def recorded(
        cls, name: str, entry: CatalogEntry, record: Locked, *, here: bool
    ) -> "WeightsResult":
        """Weights at the place that their record names."""
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
        """The full record."""
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
        """One line for the terminal."""
        size = f"{self.bytes / MEGA:,.1f} MB"
        if self.path is not None:
            return f"{self.name}: {size}, {'already here' if self.here else 'new'}: {self.path}"
        what = "is in the cache" if self.here else "would be fetched"
        return f"{self.name}: {size} {what}: {self.repo}, {self.file} at {self.commit}"

    def copied_line(self) -> str:
        """One line for a copy in another folder."""
        return f"{self.name}: {self.bytes / MEGA:,.1f} MB, copied: {self.path}"


def listing() -> list[dict[str, Any]]:
    """One record for each known name; `cached` says whether its file is on this machine."""
    records = lock.read(weights_folder())
    return [_record(name, entry, records.get(name)) for name, entry in known().items()]


def rows(records: list[dict[str, Any]]) -> list[list[str]]:
    """The records as columns of text under `HEADER`."""
    return [
        [
            record["name"],
            record["about"],
            "?" if record["megabytes"] is None else f"{record['megabytes']:,} MB",
            DISPUTED if record["licence_note"] else record["licence"],
            record["repo"] or "import",
            "yes" if record["cached"] else "no",
        ]
        for record in records
    ]


def disputes(records: list[dict[str, Any]]) -> list[str]:
    """Why the rows call some licences disputed, each reason once."""
    notes = dict.fromkeys(record["licence_note"] for record in records if record["licence_note"])
    return [f"{DISPUTED}: {note}" for note in notes]


def _record(name: str, entry: CatalogEntry, record: Locked | None) -> dict[str, Any]:
    return {
        "name": name,
        "about": entry.about,
        "megabytes": round(record.bytes / MEGA) if record else entry.megabytes,
        "format": entry.format,
        "family": entry.family,
        "licence": entry.licence,
        "licence_note": entry.licence_note,
        "repo": entry.repo,
        "file": record.file if record else entry.file,
        "commit": record.commit if record else entry.revision,
        "sha256": record.upstream_sha256 if record else entry.sha256,
        "where": entry.where,
        "cached": _is_here(name, record),
    }


def _is_here(name: str, record: Locked | None) -> bool:
    if record is None:
        return put_by_hand(name) is not None
    path = on_disk(record)
    return path is not None and path.stat().st_size == record.bytes
