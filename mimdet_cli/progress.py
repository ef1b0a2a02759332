"""Progress reporting of jobs: the protocol, and its quiet default.

`mimdet_cli.console.Console` prints progress; a program may pass any object with these methods.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

OURS: Final = __name__.partition(".")[0]


class Counter(Protocol):
    """Counts finished items."""

    def advance(self, items: int = 1) -> None:
        """Count `items` more as finished."""


class StepMeter(Protocol):
    """Follows the steps of a training run."""

    def update(self, step: int, *, loss: float, lr: float, step_s: float) -> None:
        """Report step `step` (from 1); `step_s` excludes evaluation and saving."""


class Progress(Protocol):
    """Receives progress from a job."""

    def say(self, text: str) -> None:
        """Log one line."""

    def warn(self, text: str) -> None:
        """Log a warning."""

    def items(self, total: int, label: str) -> AbstractContextManager[Counter]:
        """Entered while `total` items are processed."""

    def steps(
        self, total: int, *, start: int = 0, every: int = 20
    ) -> AbstractContextManager[StepMeter]:
        """Entered while a model is trained up to step `total`, after `start` finished steps."""


class MimdetWarning(UserWarning):
    """A job's warning when no `progress` is given."""


class Quiet:
    """Ignores everything but warnings, which it raises as Python warnings."""

    def say(self, text: str) -> None:
        """Ignored."""

    def warn(self, text: str) -> None:
        """Issue a `MimdetWarning` at the caller's line outside mimdet."""
        warnings.warn(text, MimdetWarning, stacklevel=_callers_level())

    def advance(self, items: int = 1) -> None:
        """Ignored."""

    def update(self, step: int, *, loss: float, lr: float, step_s: float) -> None:
        """Ignored."""

    @contextmanager
    def items(self, total: int, label: str) -> Iterator[Counter]:
        """A counter that ignores its updates."""
        yield self

    @contextmanager
    def steps(self, total: int, *, start: int = 0, every: int = 20) -> Iterator[StepMeter]:
        """A meter that ignores its updates."""
        yield self


def _callers_level() -> int:
    """The `stacklevel` of the first frame above `Quiet.warn` that is outside mimdet."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == OURS:
        frame, level = frame.f_back, level + 1
    return level


QUIET: Final = Quiet()
