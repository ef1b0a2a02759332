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


def locate(init: Init) -> list[Source]:
    """The files that `init` names, none for random weights; a missing one is an error."""
    wanted = [] if init.weights is None else [("init", init.weights, init.format)]
    wanted += [(f"init.more[{i}]", one.weights, one.format) for i, one in enumerate(init.more)]
    return [_find(*one) for one in wanted]


def _find(place: str, name: str, layout: str | None) -> Source:
    known = entries()
    if name in known:
        return _catalogued(place, name, known[name])
    path = Path(name).expanduser()
    if path.suffix not in SUFFIXES:
        raise _unknown(place, name, list(known))
    if not path.is_file():
        raise WeightsError(
            f"the weights file {path} does not exist.",
            where=f"{place}.weights",
            fix="correct the path, or train from random weights with `--set init.weights=null`.",
        )
    if layout is None:
        raise WeightsError(
            f"the key layout of {path} is not named; it is never guessed.",
            where=f"{place}.format",
            fix="add for example `--set init.format=mae` (the MAE authors' layout).",
        )
    return Source(path, layout)


def _catalogued(place: str, name: str, entry: Entry) -> Source:
    for suffix in SUFFIXES:
        path = folder() / f"{name}{suffix}"
        if path.is_file():
            return Source(path, entry.format, entry.licence)
    raise WeightsError(
        f"'{name}' ({entry.about}) is not on this machine.",
        where=f"{place}.weights; looked for {folder() / name}{{{','.join(SUFFIXES)}}}",
        fix="put the file there, or name one with "
        f"`--set init.weights=FILE --set init.format={entry.format}`, "
        "or train from random weights with `--set init.weights=null`.",
    )


def _unknown(place: str, name: str, known: list[str]) -> WeightsError:
    near = get_close_matches(name, known, 1)
    return WeightsError(
        f"'{name}' is neither a catalogued name nor a {', '.join(SUFFIXES)} file.",
        where=f"{place}.weights",
        fix=f"did you mean '{near[0]}'?" if near else f"known names: {', '.join(known)}.",
    )
