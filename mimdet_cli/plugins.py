"""Backbones by entry-point name, ours and third parties' alike; found without importing them.

A name may be written `distribution:name`, which chooses among several claims. Ours win a name that
a third party claims too. `MIMDET_PLUGINS` says whose are used: `all` (the default), `none`, or a
list of distributions, `mimdet-resnet,mimdet-swin`; ours always are.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from textwrap import shorten
from threading import Timer
from traceback import extract_tb, walk_tb
from types import TracebackType
from typing import Any

from mimdet_cli.console import Console
from mimdet_cli.errors import PluginError

GROUP = "mimdet.backbones"
OPTIONS_GROUP = "mimdet.options"
"""Optional: the `Options` of a backbone of the same name, where they load without torch."""
SWITCH = "MIMDET_PLUGINS"
OURS = "mimdet"
LONGEST_REASON = 300
PATIENCE_S = 10.0

_imported: dict[str, "NameClaim"] = {}
"""Third parties' claims by the top-level module that loading them imported."""


@dataclass(frozen=True, slots=True)
class NameClaim:
    """One name that an installed distribution declares, and `module:Class` behind it."""

    name: str
    distribution: str
    version: str
    value: str

    @property
    def ours(self) -> bool:
        """Whether it comes with mimdet itself."""
        return canonical(self.distribution) == OURS

    @property
    def full(self) -> str:
        """The name that no other distribution can claim."""
        return f"{canonical(self.distribution)}:{self.name}"

    @property
    def module(self) -> str:
        """The module that has to be imported for it."""
        return self.value.partition(":")[0].strip()

    @property
    def provider(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"

    @property
    def allowed(self) -> bool:
        """Whether `MIMDET_PLUGINS` lets it be used."""
        chosen = chosen_distributions()
        return self.ours or chosen is None or canonical(self.distribution) in chosen


def canonical(distribution: str) -> str:
    """The name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def chosen_distributions() -> frozenset[str] | None:
    """The third parties that `MIMDET_PLUGINS` allows; None for all."""
    words = [word for word in os.environ.get(SWITCH, "").replace(" ", "").split(",") if word]
    if words in ([], ["all"]):
        return None
    return frozenset() if words in (["none"], ["0"]) else frozenset(map(canonical, words))


@contextmanager
def only_ours(wanted: bool) -> Iterator[None]:
    """What `--no-plugins` does, for this process and those it starts."""
    before = os.environ.get(SWITCH)
    if wanted:
        os.environ[SWITCH] = "none"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ[SWITCH]
        elif wanted and before is not None:
            os.environ[SWITCH] = before


def claims(group: str = GROUP) -> list[NameClaim]:
    """Every declared backbone, ours first; a distribution that lies on the path twice counts once.

    Of such copies the first on the path is asked, which is the one that `import` takes.
    """
    found: dict[str, NameClaim] = {}
    for entry in entry_points(group=group):
        if entry.dist is not None:
            claim = NameClaim(entry.name, entry.dist.name, entry.dist.version, entry.value)
            found.setdefault(claim.full, claim)
    return sorted(found.values(), key=lambda claim: (not claim.ours, claim.full))


def names() -> list[str]:
    """Names that can be used, sorted."""
    return sorted({claim.name for claim in claims() if claim.allowed})


def rivals(claim: NameClaim) -> list[NameClaim]:
    """Usable claims of other distributions to the same name."""
    same = [other for other in claims() if other.name == claim.name and other.allowed]
    return [other for other in same if other.full != claim.full]


def written(claim: NameClaim) -> str:
    """What a recipe's `backbone.name` has to say for this claim."""
    return claim.name if claim.ours or not rivals(claim) else claim.full


def hidden(claim: NameClaim) -> str:
    """What to know of a third party's claim to one of our names."""
    return f"'{claim.name}' is mimdet's own backbone; that of {claim.provider} is {claim.full}."


def find(name: str) -> NameClaim:
    """The claim that `name`, or `distribution:name`, means; nothing is imported."""
    distribution, _, short = name.rpartition(":")
    everyone = claims()
    found = [claim for claim in everyone if claim.name == short]
    if distribution:
        found = [claim for claim in found if claim.full == f"{canonical(distribution)}:{short}"]
    usable = [claim for claim in found if claim.allowed]
    if not found:
        raise _unknown(distribution, short, everyone)
    if not usable:
        raise _switched_off(name, found)
    if len(usable) > 1 and not usable[0].ours:
        raise PluginError(
            f"the backbone name '{name}' is claimed twice.",
            where=" and ".join(claim.provider for claim in usable),
            fix=f"choose one: {' or '.join(claim.full for claim in usable)}.",
        )
    return usable[0]


def chosen(name: str) -> NameClaim:
    """The claim that `name` means; those of others to a name of ours are warned of."""
    claim = find(name)
    if claim.ours and ":" not in name:
        for other in rivals(claim):
            _warn_once(hidden(other))
    return claim


def load(name: str) -> Any:
    """The object behind a name; this imports its package."""
    return load_claim(chosen(name))


def options_claim(claim: NameClaim) -> NameClaim | None:
    """What the distribution of `claim` declares as that backbone's options, if it does."""
    return next((one for one in claims(OPTIONS_GROUP) if one.full == claim.full), None)


def load_claim(claim: NameClaim) -> Any:
    """The object behind a claim; this imports its package. A slow import is told of."""
    if not claim.ours:
        _imported[claim.module.partition(".")[0]] = claim
    try:
        with patience(claim):
            return EntryPoint(claim.name, claim.value, GROUP).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and pytest's Skipped
        where = f"{_place(error, claim)} of {claim.provider}"
        raise not_loaded(claim, reason(error), where) from error


@contextmanager
def patience(claim: NameClaim) -> Iterator[None]:
    """Say that a third party's package is still being imported, if it takes long."""
    told = f"still importing {claim.module} of {claim.provider}, after {PATIENCE_S:.0f} s"
    timer = Timer(PATIENCE_S, lambda: Console().say(told))
    timer.daemon = True
    if not claim.ours:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def not_loaded(claim: NameClaim, why: str, where: str) -> PluginError:
    """A claimed backbone that cannot be had."""
    return PluginError(
        f"the backbone '{claim.name}' cannot be loaded: {why}",
        where=where,
        fix="repair or uninstall that distribution; `--traceback` shows where it fails.",
    )


def reason(error: BaseException) -> str:
    """An exception in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return shorten(said, LONGEST_REASON, placeholder=" ...")


def blame(error: BaseException) -> PluginError | None:
    """An unforeseen error as that of the loaded third party whose code raised it, if any did."""
    for top in reversed(_modules(error.__traceback__)):
        if top in _imported:
            claim = _imported[top]
            return PluginError(
                f"the backbone '{claim.name}' failed: {reason(error)}",
                where=f"{_place(error, claim)} of {claim.provider}",
                fix=f"see `mimdet backbones check {claim.full}`; `--traceback` shows all of it.",
            )
    return None


def record(name: str) -> dict[str, str] | None:
    """What a checkpoint keeps of a third party's backbone; None for ours."""
    claim = find(name)
    if claim.ours:
        return None
    return {
        "name": claim.name,
        "distribution": claim.distribution,
        "version": claim.version,
    }


def recorded(name: str, kept: Mapping[str, str], where: str) -> str:
    """`name` as it has to be written for the distribution that a checkpoint was made with.

    `kept` is what `record` said then, read from the file `where`. A name that chooses another
    distribution is left alone.
    """
    made_by = NameClaim(kept["name"], kept["distribution"], kept["version"], "")
    if name not in (made_by.name, made_by.full):
        return name
    if made_by.full not in [claim.full for claim in claims()]:
        raise PluginError(
            f"the backbone '{made_by.name}' is not installed; the checkpoint was made with "
            f"{made_by.provider}.",
            where=where,
            fix=f"`pip install {made_by.distribution}=={made_by.version}`.",
        )
    return made_by.full


@cache
def _warn_once(text: str) -> None:
    Console().warn(text)


def _modules(trace: TracebackType | None) -> list[str]:
    """Top-level modules whose code is in the traceback, outermost first."""
    return [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(trace)]


def _place(error: BaseException, claim: NameClaim) -> str:
    """The last line of the claimed package that the error passed; else what it declares."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno},"
    top = claim.module.partition(".")[0]
    lines = zip(_modules(error.__traceback__), extract_tb(error.__traceback__), strict=True)
    own = [f"{line.filename}, line {line.lineno}," for module, line in lines if module == top]
    return own[-1] if own else claim.value


def _unknown(distribution: str, short: str, everyone: list[NameClaim]) -> PluginError:
    if distribution:
        theirs = [c.name for c in everyone if c.full.startswith(f"{canonical(distribution)}:")]
        return PluginError(
            f"there is no backbone called '{short}' of '{distribution}'.",
            where="backbone.name",
            fix=f"it brings {', '.join(theirs)}." if theirs else "is that distribution installed?",
        )
    known = names()
    near = get_close_matches(short, known, n=1)
    if near:
        fix = f"did you mean '{near[0]}'?"
    elif known:
        fix = f"use one of {', '.join(known)}, or install the package that brings it."
    else:
        fix = "install mimdet (`pip install .`), so that its entry points are known."
    return PluginError(f"there is no backbone called '{short}'.", where="backbone.name", fix=fix)


def _switched_off(name: str, found: list[NameClaim]) -> PluginError:
    return PluginError(
        f"the backbone '{name}' is switched off; it comes from "
        f"{' and '.join(claim.provider for claim in found)}.",
        where=f"{SWITCH}={os.environ[SWITCH]} (--no-plugins sets it to none)",
        fix=f"leave --no-plugins away, or set {SWITCH} to {canonical(found[0].distribution)}.",
    )
