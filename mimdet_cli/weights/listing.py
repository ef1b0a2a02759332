"""All known weights: what they are, their licence, and whether they are on this machine."""

from typing import Any

from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import Entry, folder
from mimdet_cli.weights.locate import known, on_disk
from mimdet_cli.weights.lock import Locked

HEADER = ("name", "contents", "size", "licence", "source", "cached")
DISPUTED = "disputed"
MEGA = 1e6


def listing() -> list[dict[str, Any]]:
    """One record for each name; `cached` says whether its file is here."""
    records = lock.read(folder())
    return [_record(name, one, records.get(name)) for name, one in known().items()]


def rows(records: list[dict[str, Any]]) -> list[list[str]]:
    """The records as columns of text under `HEADER`."""
    return [
        [
            one["name"],
            one["about"],
            "?" if one["megabytes"] is None else f"{one['megabytes']:,} MB",
            DISPUTED if one["licence_note"] else one["licence"],
            one["repo"] or "import",
            "yes" if one["cached"] else "no",
        ]
        for one in records
    ]


def disputes(records: list[dict[str, Any]]) -> list[str]:
    """What the licences that the rows call disputed are about, each once."""
    notes = dict.fromkeys(one["licence_note"] for one in records if one["licence_note"])
    return [f"{DISPUTED}: {note}" for note in notes]


def _record(name: str, entry: Entry, record: Locked | None) -> dict[str, Any]:
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
        return any((folder() / f"{name}{suffix}").is_file() for suffix in (".safetensors", ".pth"))
    path = on_disk(record)
    return path is not None and path.stat().st_size == record.bytes
