"""The catalogue of known weights, and where a recipe's `init.weights` lies on this machine."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

import yaml

from mimdet_cli.errors import WeightsError
from mimdet_cli.recipe.schema import Init

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class Entry:
    """One catalogued checkpoint."""

    about: str
    format: str
    family: str
    licence: str


@dataclass(frozen=True, slots=True)
class Source:
    """A weights file found on this machine, and the key map that reads it."""

    path: Path
    format: str
    licence: str | None = None


def entries() -> dict[str, Entry]:
    """Every catalogued checkpoint by name."""
    text = resources.files("mimdet_cli.weights").joinpath("catalog.yaml").read_text()
    return {name: Entry(**fields) for name, fields in yaml.safe_load(text).items()}


def folder() -> Path:
    """Where catalogued files are: `MIMDET_WEIGHTS`, or `mimdet/weights` in the user cache."""
    if chosen := os.environ.get("MIMDET_WEIGHTS"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "mimdet" / "weights"


def locate(init: Init) -> Source | None:
    """The file that `init` names, or None for random weights; a missing one is an error."""
    if init.weights is None:
        return None
    known = entries()
    if init.weights in known:
        return _catalogued(init.weights, known[init.weights])
    path = Path(init.weights).expanduser()
    if path.suffix not in SUFFIXES:
        raise _unknown(init.weights, list(known))
    if not path.is_file():
        raise WeightsError(
            f"the weights file {path} does not exist.",
            where="init.weights",
            fix="correct the path, or train from random weights with `--set init.weights=null`.",
        )
    if init.format is None:
        raise WeightsError(
            f"the key layout of {path} is not named; it is never guessed.",
            where="init.format",
            fix="add for example `--set init.format=mae` (the MAE authors' layout).",
        )
    return Source(path, init.format)


def _catalogued(name: str, entry: Entry) -> Source:
    for suffix in SUFFIXES:
        path = folder() / f"{name}{suffix}"
        if path.is_file():
            return Source(path, entry.format, entry.licence)
    raise WeightsError(
        f"'{name}' ({entry.about}) is not on this machine.",
        where=f"init.weights; looked for {folder() / name}{{{','.join(SUFFIXES)}}}",
        fix="put the file there, or name one with "
        f"`--set init.weights=FILE --set init.format={entry.format}`, "
        "or train from random weights with `--set init.weights=null`.",
    )


def _unknown(name: str, known: list[str]) -> WeightsError:
    near = get_close_matches(name, known, 1)
    return WeightsError(
        f"'{name}' is neither a catalogued name nor a {', '.join(SUFFIXES)} file.",
        where="init.weights",
        fix=f"did you mean '{near[0]}'?" if near else f"known names: {', '.join(known)}.",
    )
