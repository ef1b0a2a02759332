"""The catalogue of known weights: what each holds, where it comes from, under which licence."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mimdet_cli.errors import WeightsError

MAIN = "main"
MAE_FAMILIES = {"raw pixels", "normalised pixels"}
"""The values of `family` in the catalogue that name MAE's two targets."""
IMAGENET = {"pixel_mean": (123.675, 116.28, 103.53), "pixel_std": (58.395, 57.12, 57.375)}

Pixel = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One checkpoint; the fields are those of `catalog.yaml`, where they are explained."""

    about: str
    format: str
    licence: str
    family: str | None = None
    licence_note: str | None = None
    repo: str | None = None
    file: str | None = None
    ref: str = MAIN
    revision: str | None = None
    sha256: str | None = None
    megabytes: int | None = None
    pixel_mean: Pixel | None = None
    pixel_std: Pixel | None = None
    where: str | None = None
    instead: str | None = None
    holds: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def from_data(cls, fields: Mapping[str, Any]) -> "CatalogEntry":
        """An entry as YAML or JSON gives it, where sequences are lists."""
        plain: dict[str, Any] = dict(fields)
        for key in ("pixel_mean", "pixel_std"):
            plain[key] = tuple(plain[key]) if plain.get(key) else None
        return cls(**plain)


def entries() -> dict[str, CatalogEntry]:
    """Every catalogued checkpoint by name."""
    text = resources.files("mimdet_cli.weights").joinpath("catalog.yaml").read_text("utf-8")
    known = yaml.safe_load(text)
    return {name: CatalogEntry.from_data({**IMAGENET, **fields}) for name, fields in known.items()}


def refuse_other(name: str, entry: CatalogEntry, found: str, path: Path, command: str) -> None:
    """Refuse a file without the catalogue's hash; `command` takes it under another name."""
    if entry.sha256 not in (None, found):
        raise WeightsError(
            f"'{name}' is not the file of the catalogue: its sha256 is {found}, the catalogue's is "
            f"{entry.sha256}.",
            where=str(path),
            fix=f"find out why first; `{command}` takes the file under another name.",
        )


def weights_folder() -> Path:
    """The folder of the lock file and imported weights.

    `MIMDET_WEIGHTS`, or `mimdet/weights` in the user cache.
    """
    if chosen := os.environ.get("MIMDET_WEIGHTS"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "mimdet" / "weights"
