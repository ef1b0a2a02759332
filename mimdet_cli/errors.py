"""What a user can mend: what happened, where, and what to do, with the exit code of its kind.

Exit codes: 0 ok, 1 bug, 2 usage or recipe, 3 data, 4 weights or hub, 5 plugin,
6 resources, 7 diverged, 75 preempted and resumable, 130 interrupted.
"""

from collections.abc import Sequence
from typing import ClassVar


class MimdetError(Exception):
    """A mistake that the user can mend; `also` holds the others found in the same stage."""

    exit_code: ClassVar[int] = 2

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", also: Sequence["MimdetError"] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix
        self.also = tuple(also)

    @classmethod
    def joined(cls, errors: Sequence["MimdetError"]) -> "MimdetError":
        """One error that carries all of a stage's; `errors` is not empty."""
        first, *rest = errors
        first.also = (*first.also, *(one for error in rest for one in error.each()))
        return first

    def each(self) -> list["MimdetError"]:
        """This error and those found with it, in order."""
        return [self, *self.also]

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"at: {self.where}"] if self.where else []
        parts += [f"fix: {self.fix}"] if self.fix else []
        return "; ".join(parts)


class RecipeError(MimdetError):
    """A wrong command line or recipe."""

    exit_code = 2


class DataError(MimdetError):
    """Images or annotations that cannot be used."""

    exit_code = 3


class WeightsError(MimdetError):
    """Weights that are missing, damaged, or do not fit."""

    exit_code = 4


class PluginError(MimdetError):
    """A backbone that cannot be found or loaded, or that breaks its contract."""

    exit_code = 5


class ResourceError(MimdetError):
    """Not enough memory, disk or shared memory, or a folder that cannot be written."""

    exit_code = 6


class DivergedError(MimdetError):
    """A loss or a gradient that is not a finite number."""

    exit_code = 7


class BusyError(MimdetError):
    """Something that another process is at work on; try again later."""

    exit_code = 75
