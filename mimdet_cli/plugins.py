"""Backbones by entry-point name, ours and third parties' alike; found without importing them."""

from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mimdet_cli.errors import PluginError

GROUP = "mimdet.backbones"


def names(group: str = GROUP) -> list[str]:
    """Names that installed distributions claim, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def find(name: str, group: str = GROUP) -> EntryPoint:
    """The entry point called `name`, not loaded."""
    claims = {_distribution(e): e for e in entry_points(group=group) if e.name == name}
    if not claims:
        raise _unknown(name, group)
    if len(claims) > 1:
        raise PluginError(
            f"the backbone name '{name}' is claimed twice.",
            where=" and ".join(sorted(claims)),
            fix="uninstall one of them, or ask its author for another name.",
        )
    return next(iter(claims.values()))


def load(name: str, group: str = GROUP) -> Any:
    """The class behind the entry point called `name`; this imports its package."""
    entry = find(name, group)
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the backbone '{name}' cannot be loaded: {type(error).__name__}: {error}",
            where=f"{entry.value} of {_distribution(entry)}",
            fix="repair or uninstall that distribution; `--traceback` shows where it fails.",
        ) from error


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


def _unknown(name: str, group: str) -> PluginError:
    known = names(group)
    near = get_close_matches(name, known, n=1)
    if near:
        fix = f"did you mean '{near[0]}'?"
    elif known:
        fix = f"use one of {', '.join(known)}, or install the package that brings it."
    else:
        fix = "install mimdet (`pip install .`), so that its entry points are known."
    return PluginError(f"there is no backbone called '{name}'.", where="backbone.name", fix=fix)
