"""Find backbones by entry-point name, built-in and third-party alike, without importing them.

`distribution:name` selects one of several distributions that register the same name. A built-in
name takes precedence over a third party's. `MIMDET_PLUGINS` selects the third-party distributions:
`all` (the default), `none`, or a list such as `mimdet-resnet,mimdet-swin`.
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
"""Optional: the `Options` of the backbone of the same name, importable without torch."""
SWITCH = "MIMDET_PLUGINS"
OURS = "mimdet"
REASON_LENGTH = 300
SLOW_IMPORT_S = 10.0

_imported: dict[str, "Registration"] = {}
"""Third-party registrations by the top-level module that loading them imported."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A backbone name that an installed distribution registers; `value` is `module:Class`."""

    name: str
    distribution: str
    version: str
    value: str

    @property
    def ours(self) -> bool:
        """Whether mimdet itself provides it."""
        return canonical(self.distribution) == OURS

    @property
    def full(self) -> str:
        """`distribution:name`, which is unique."""
        return f"{canonical(self.distribution)}:{self.name}"

    @property
    def module(self) -> str:
        """The module that defines it."""
        return self.value.partition(":")[0].strip()

    @property
    def provider(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"

    @property
    def allowed(self) -> bool:
        """Whether `MIMDET_PLUGINS` enables it; built-in backbones always are."""
        chosen = chosen_distributions()
        return self.ours or chosen is None or canonical(self.distribution) in chosen


def canonical(distribution: str) -> str:
    """A distribution name in normalized form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def chosen_distributions() -> frozenset[str] | None:
    """The third-party distributions that `MIMDET_PLUGINS` enables; None for all."""
    words = [word for word in os.environ.get(SWITCH, "").replace(" ", "").split(",") if word]
    if words in ([], ["all"]):
        return None
    return frozenset() if words in (["none"], ["0"]) else frozenset(map(canonical, words))


@contextmanager
def only_ours(wanted: bool) -> Iterator[None]:
    """Disable third-party backbones in this process and its children if `wanted`."""
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


def registrations(group: str = GROUP) -> list[Registration]:
    """Every registered backbone, ours first.

    A distribution that is on the path twice counts once: the first copy, as for `import`.
    """
    unique: dict[str, Registration] = {}
    for entry in entry_points(group=group):
        if entry.dist is not None:
            registration = Registration(
                entry.name, entry.dist.name, entry.dist.version, entry.value
            )
            unique.setdefault(registration.full, registration)
    return sorted(
        unique.values(), key=lambda registration: (not registration.ours, registration.full)
    )


def names() -> list[str]:
    """Enabled names, sorted."""
    return sorted({registration.name for registration in registrations() if registration.allowed})


def rivals(registration: Registration) -> list[Registration]:
    """Enabled registrations of the same name by other distributions."""
    same = [other for other in registrations() if other.name == registration.name and other.allowed]
    return [other for other in same if other.full != registration.full]


def recipe_name(registration: Registration) -> str:
    """The shortest `backbone.name` that selects this registration in a recipe."""
    return registration.name if registration.ours or not rivals(registration) else registration.full


def shadowed_note(registration: Registration) -> str:
    """A note on a third party's backbone that is shadowed by a built-in one."""
    return (
        f"'{registration.name}' is mimdet's own backbone; "
        f"use {registration.full} for the one from {registration.provider}."
    )


def find(name: str) -> Registration:
    """The registration of `name` or `distribution:name`; nothing is imported."""
    distribution, _, short = name.rpartition(":")
    registered = registrations()
    matches = [match for match in registered if match.name == short]
    if distribution:
        full = f"{canonical(distribution)}:{short}"
        matches = [match for match in matches if match.full == full]
    enabled = [match for match in matches if match.allowed]
    if not matches:
        raise _unknown(distribution, short, registered)
    if not enabled:
        raise _disabled(name, matches)
    if len(enabled) > 1 and not enabled[0].ours:
        raise PluginError(
            f"several distributions provide a backbone called '{name}'.",
            where=" and ".join(match.provider for match in enabled),
            fix=f"choose one: {' or '.join(match.full for match in enabled)}.",
        )
    return enabled[0]


def resolve(name: str) -> Registration:
    """As `find`, but warn when a built-in name shadows a third party's backbone."""
    registration = find(name)
    if registration.ours and ":" not in name:
        for other in rivals(registration):
            _warn_once(shadowed_note(other))
    return registration


def load(name: str) -> Any:
    """Import and return the object that `name` refers to."""
    return load_registration(resolve(name))


def options_registration(registration: Registration) -> Registration | None:
    """The options that a distribution registers for its backbone, if any."""
    options = registrations(OPTIONS_GROUP)
    return next((option for option in options if option.full == registration.full), None)


def load_registration(registration: Registration) -> Any:
    """Import and return the registered object; a slow import is reported."""
    if not registration.ours:
        _imported[registration.module.partition(".")[0]] = registration
    try:
        with report_slow_import(registration):
            return EntryPoint(registration.name, registration.value, GROUP).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit, and pytest's Skipped
        where = f"{_place(error, registration)} of {registration.provider}"
        raise load_error(registration, one_line(error), where) from error


@contextmanager
def report_slow_import(registration: Registration) -> Iterator[None]:
    """Report a third-party import that takes longer than `SLOW_IMPORT_S`."""
    package = f"{registration.module} of {registration.provider}"
    message = f"still importing {package} after {SLOW_IMPORT_S:.0f} s"
    timer = Timer(SLOW_IMPORT_S, lambda: Console().say(message))
    timer.daemon = True
    if not registration.ours:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def load_error(registration: Registration, why: str, where: str) -> PluginError:
    """The error for a registered backbone that cannot be loaded."""
    return PluginError(
        f"the backbone '{registration.name}' cannot be loaded: {why}",
        where=where,
        fix="repair or uninstall that distribution; use `--traceback` to see where it fails.",
    )


def one_line(error: BaseException) -> str:
    """An exception in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return shorten(line, REASON_LENGTH, placeholder=" ...")


def blame(error: BaseException) -> PluginError | None:
    """An unexpected error as a `PluginError` if third-party backbone code raised it."""
    for top in reversed(_modules(error.__traceback__)):
        if top in _imported:
            registration = _imported[top]
            return PluginError(
                f"the backbone '{registration.name}' failed: {one_line(error)}",
                where=f"{_place(error, registration)} of {registration.provider}",
                fix=f"run `mimdet backbones check {registration.full}`, or use `--traceback`.",
            )
    return None


def record(name: str) -> dict[str, str] | None:
    """What a checkpoint records about a third-party backbone; None for a built-in one."""
    registration = find(name)
    if registration.ours:
        return None
    return {
        "name": registration.name,
        "distribution": registration.distribution,
        "version": registration.version,
    }


def pinned_name(name: str, kept: Mapping[str, str], where: str) -> str:
    """`name`, qualified with the distribution that a checkpoint was made with.

    `kept` is the `record` read from the file `where`. A name that selects another distribution is
    returned unchanged.
    """
    made_by = Registration(kept["name"], kept["distribution"], kept["version"], "")
    if name not in (made_by.name, made_by.full):
        return name
    if made_by.full not in [registration.full for registration in registrations()]:
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
    """Top-level modules of the traceback's frames, outermost first."""
    return [frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(trace)]


def _place(error: BaseException, registration: Registration) -> str:
    """The innermost line of the traceback in the registered package, else the entry point."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno},"
    top = registration.module.partition(".")[0]
    lines = zip(_modules(error.__traceback__), extract_tb(error.__traceback__), strict=True)
    own = [f"{line.filename}, line {line.lineno}," for module, line in lines if module == top]
    return own[-1] if own else registration.value


def _unknown(distribution: str, short: str, registered: list[Registration]) -> PluginError:
    if distribution:
        prefix = f"{canonical(distribution)}:"
        theirs = [other.name for other in registered if other.full.startswith(prefix)]
        return PluginError(
            f"'{distribution}' has no backbone called '{short}'.",
            where="backbone.name",
            fix=f"it provides {', '.join(theirs)}."
            if theirs
            else "check that the distribution is installed.",
        )
    known = names()
    near = get_close_matches(short, known, n=1)
    if near:
        fix = f"did you mean '{near[0]}'?"
    elif known:
        fix = f"use one of {', '.join(known)}, or install the package that provides it."
    else:
        fix = "install mimdet (`pip install .`) to register its entry points."
    return PluginError(f"there is no backbone called '{short}'.", where="backbone.name", fix=fix)


def _disabled(name: str, matches: list[Registration]) -> PluginError:
    return PluginError(
        f"the backbone '{name}' from {' and '.join(match.provider for match in matches)} "
        "is switched off.",
        where=f"{SWITCH}={os.environ[SWITCH]} (--no-plugins sets it to none)",
        fix=f"omit --no-plugins, or set {SWITCH} to {canonical(matches[0].distribution)}.",
    )
