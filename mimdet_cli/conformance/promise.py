"""One promise of a backbone, what its check found, and how it is examined."""

import inspect
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backbones.contract import Backbone
from mimdet_cli.conformance.subject import Subject
from mimdet_cli.conformance.surroundings import preserved, silence
from mimdet_cli.errors import RecipeError

Status = Literal["kept", "broken", "unclear"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured, in a few words, and whatever breaks the promise, with its numbers."""

    measured: str
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromiseOutcome:
    """A promise after its check; `because` is the broken promise that leaves this one unclear."""

    promise: "Promise"
    finding: Finding
    seconds: float
    because: str | None = None

    @property
    def status(self) -> Status:
        """Kept, broken, or unclear while another promise is broken."""
        if self.because is not None:
            return "unclear"
        return "broken" if self.finding.broken else "kept"


@dataclass(frozen=True, slots=True)
class Promise:
    """What every backbone promises: its name, a sentence, how to fix a breach, and the check.

    `needs` are the promises without which this one cannot be judged; all need `builds`.
    """

    name: str
    sentence: str
    fix: str
    test: Callable[[Subject], Finding]
    needs: tuple[str, ...] = ()

    @property
    def __name__(self) -> str:
        """What pytest calls a test with this promise as its parameter."""
        return self.name

    def check(self, kind: type[Backbone], options: Mapping[str, Any] | None = None) -> None:
        """Raise AssertionError, with the numbers, if `kind` breaks this promise."""
        outcome = examine(self, Subject(kind, options or {}))
        if outcome.finding.broken:
            first = f"{kind.__name__} breaks the promise '{self.name}': {self.sentence}."
            raise AssertionError("\n".join([first, *outcome.finding.broken, f"fix: {self.fix}"]))


def promise(
    name: str, sentence: str, *, fix: str, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[Subject], Finding]], Promise]:
    """Turn a check into a promise, with the texts that plugin authors see."""

    def made(test: Callable[[Subject], Finding]) -> Promise:
        return Promise(name, sentence, fix, test, needs)

    return made


def examine(promise: Promise, subject: Subject) -> PromiseOutcome:
    """Check one promise; a crash breaks it, and global state is put back.

    What is printed or logged meanwhile is dropped: stdout belongs to the report, and torch prints
    whole graphs where an export fails.
    """
    began = time.perf_counter()
    with preserved(), silence():
        try:
            finding = promise.test(subject)
        except RecipeError as error:
            if subject.given:
                raise  # the caller's values are wrong, not the backbone's own
            finding = Finding("", (str(error),))
        except (Exception, SystemExit) as error:
            finding = Finding("", (in_one_line(error, subject.kind),))
    return PromiseOutcome(promise, finding, time.perf_counter() - began)


def in_one_line(error: BaseException, kind: type) -> str:
    """One line about `error`, which came out of `kind` or of what it calls."""
    message = " ".join(str(error).split())
    shown = message if len(message) <= 300 else f"{message[:300]} ..."
    text = f"{type(error).__name__}: {shown}" if message else type(error).__name__
    place = _place(error, kind)
    return f"{text} ({place})" if place else text


def _place(error: BaseException, kind: type) -> str | None:
    """File and line of the innermost frame in the package of `kind`, then of any frame at all."""
    frames = traceback.extract_tb(error.__traceback__)
    root = _root(kind)
    if root is None:
        return None
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    if not own:
        return None
    path = Path(own[-1].filename).relative_to(root.parent)
    return f"{path}:{own[-1].lineno}, in {own[-1].name}"


def _root(kind: type) -> Path | None:
    """The folder of the package that defines `kind`, or its file where there is no package."""
    package = sys.modules.get(kind.__module__.partition(".")[0])
    folders = list(getattr(package, "__path__", ()))
    if folders:
        return Path(folders[0])
    try:
        return Path(inspect.getfile(kind))
    except (TypeError, OSError):  # made where there is no file, such as a notebook
        return None
