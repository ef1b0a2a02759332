"""One promise of a backbone, what a check of it found, and how it is examined."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backbones.contract import Backbone
from mimdet_cli.conformance.crash import told
from mimdet_cli.conformance.subject import Subject
from mimdet_cli.conformance.surroundings import preserved, silence
from mimdet_cli.errors import RecipeError

Status = Literal["kept", "broken", "unclear"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured, in a few words, and whatever breaks the promise, with its numbers."""

    measured: str
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A promise after its check; `because` is the broken promise that leaves this one unclear."""

    promise: "Promise"
    verdict: Verdict
    seconds: float
    because: str | None = None

    @property
    def status(self) -> Status:
        """Kept, broken, or not to be told while another one is broken."""
        if self.because is not None:
            return "unclear"
        return "broken" if self.verdict.broken else "kept"


@dataclass(frozen=True, slots=True)
class Promise:
    """What every backbone promises: its name, a sentence, how to mend it, the check.

    `needs` are the promises without which this one cannot be judged; all need `builds`.
    """

    name: str
    sentence: str
    fix: str
    test: Callable[[Subject], Verdict]
    needs: tuple[str, ...] = ()

    @property
    def __name__(self) -> str:
        """What pytest calls a test with this promise as its parameter."""
        return self.name

    def check(self, kind: type[Backbone], options: Mapping[str, Any] | None = None) -> None:
        """Raise AssertionError, with the numbers, if `kind` breaks this promise."""
        outcome = examine(self, Subject(kind, options or {}))
        if outcome.verdict.broken:
            first = f"{kind.__name__} breaks the promise '{self.name}': {self.sentence}."
            raise AssertionError("\n".join([first, *outcome.verdict.broken, f"fix: {self.fix}"]))


def examine(promise: Promise, subject: Subject) -> Outcome:
    """Check one promise; a crash breaks it, and nothing outside the backbone stays changed.

    What is printed or logged meanwhile is dropped: stdout is the report's, and torch prints whole
    graphs where an export fails.
    """
    began = time.perf_counter()
    with preserved(), silence():
        try:
            verdict = promise.test(subject)
        except RecipeError as error:
            if subject.given:
                raise  # the caller's values are wrong, not the backbone's own
            verdict = Verdict("", (str(error),))
        except (Exception, SystemExit) as error:
            verdict = Verdict("", (told(error, subject.kind),))
    return Outcome(promise, verdict, time.perf_counter() - began)
