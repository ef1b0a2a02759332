"""How long work tells what it is doing: a protocol, and the quiet listener that is the default.

`mimdet_cli.console.Console` prints what it is told; a program of one's own may give any object with
these methods.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

OURS: Final = __name__.partition(".")[0]


class Counter(Protocol):
    """Counts items that are done."""

    def advance(self, items: int = 1) -> None:
        """`items` more are done."""


class StepMeter(Protocol):
    """Follows the steps of a training run."""

    def update(self, step: int, *, loss: float, lr: float, step_s: float) -> None:
        """Step number `step` (from 1) took `step_s` seconds, without evaluation and saving."""


class Progress(Protocol):
    """Listens to a job."""

    def say(self, text: str) -> None:
        """One line about what happens."""

    def warn(self, text: str) -> None:
        """One line that should not be overlooked."""

    def items(self, total: int, label: str) -> AbstractContextManager[Counter]:
        """Inside, `total` items are worked on."""

    def steps(
        self, total: int, *, start: int = 0, every: int = 20
    ) -> AbstractContextManager[StepMeter]:
        """Inside, a model is trained for `total` steps, `start` of them done before."""


class MimdetWarning(UserWarning):
    """What a job warns of where nobody else listens."""


class Quiet:
    """Drops everything but warnings, which become Python's."""

    def say(self, text: str) -> None:
        """Nothing is said."""

    def warn(self, text: str) -> None:
        """A `MimdetWarning`, at the line of the program that called mimdet."""
        warnings.warn(text, MimdetWarning, stacklevel=_callers_level())

    def advance(self, items: int = 1) -> None:
        """Nothing is shown."""

    def update(self, step: int, *, loss: float, lr: float, step_s: float) -> None:
        """Nothing is shown."""

    @contextmanager
    def items(self, total: int, label: str) -> Iterator[Counter]:
        """A counter that shows nothing."""
        yield self

    @contextmanager
    def steps(self, total: int, *, start: int = 0, every: int = 20) -> Iterator[StepMeter]:
        """A meter that shows nothing."""
        yield self


def _callers_level() -> int:
    """How many frames above `Quiet.warn` the first one lies that is none of ours."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == OURS:
        frame, level = frame.f_back, level + 1
    return level


QUIET: Final = Quiet()
