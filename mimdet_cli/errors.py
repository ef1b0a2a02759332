"""Errors that the user can fix: what happened, where, how to fix it, and the exit code.

Exit codes: 0 ok, 1 bug, 2 usage or recipe, 3 data, 4 weights or hub, 5 plugin,
6 resources, 7 diverged, 75 preempted and resumable, 130 interrupted.
"""

from collections.abc import Sequence
from typing import ClassVar


class MimdetError(Exception):
    """An error that the user can fix; `also` holds others found at the same time."""

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
        """Combine `errors`, of which there is at least one, into a single one."""
        first, *rest = errors
        first.also = (*first.also, *(part for error in rest for part in error.each()))
        return first

    def each(self) -> list["MimdetError"]:
        """This error and those combined with it, in order."""
        return [self, *self.also]

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"at: {self.where}"] if self.where else []
        parts += [f"fix: {self.fix}"] if self.fix else []
        return "; ".join(parts)


class RecipeError(MimdetError):
    """An invalid command line or recipe."""

    exit_code = 2


class DataError(MimdetError):
    """Images or annotations that cannot be used."""

    exit_code = 3


class WeightsError(MimdetError):
    """Weights that are missing, damaged or incompatible."""

    exit_code = 4


class PluginError(MimdetError):
    """A backbone that cannot be found or loaded, or that breaks the contract."""

    exit_code = 5


class ResourceError(MimdetError):
    """Not enough memory, disk space or shared memory, or a folder that is not writable."""

    exit_code = 6


class DivergedError(MimdetError):
    """A loss or gradient that is not finite."""

    exit_code = 7


class BusyError(MimdetError):
    """A resource that another process is using; try again later."""

    exit_code = 75
