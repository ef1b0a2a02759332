"""Rules about the records of a file, and what they find, so that one run reports every problem."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mimdet_cli.errors import DataError
from mimdet_cli.words import first_of

NAMED = 10
Severity = Literal["error", "dropped", "note"]
Place = Literal["file", "folder"]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One check: what it is applied to, what it says, and how to fix what it finds.

    `find` returns the cases in its subject, each named so that the user can find it; none if all is
    well. `says` holds {cases} and {count}. An error refuses the file, a dropped record is not read,
    a note is only reported. `place` is where the cases are.
    """

    name: str
    subject: str
    purposes: frozenset[str]
    find: Callable[[Any], Sequence[str]]
    says: str
    fix: str
    severity: Severity = "error"
    place: Place = "file"


@dataclass(slots=True)
class Found:
    """The cases of one rule: how many, and the first of them."""

    count: int = 0
    cases: list[str] = field(default_factory=list)

    def add(self, cases: Sequence[str]) -> None:
        """Add cases."""
        self.count += len(cases)
        self.cases += cases[: NAMED - len(self.cases)]

    def listed(self) -> str:
        """The first ten cases, and how many more there are."""
        return first_of(self.cases, NAMED, self.count)


class Findings:
    """Applies rules while a file is read, and keeps what they find."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._found = {rule: Found() for rule in rules}
        self._by_subject = {
            subject: tuple(rule for rule in rules if rule.subject == subject)
            for subject in {rule.subject for rule in rules}
        }

    def apply(self, subject: str, value: object) -> bool:
        """Apply the rules of its kind to a value; returns whether it may be used.

        A rule that drops it is the last one applied.
        """
        good = True
        for rule in self._by_subject.get(subject, ()):
            if cases := rule.find(value):
                self._found[rule].add(cases)
                if rule.severity == "dropped":
                    return False
                good = good and rule.severity == "note"
        return good

    def refuse(self, places: Mapping[Place, Path]) -> None:
        """Raise every error that was found, one for each rule, in the order of the rules."""
        errors = [
            DataError(_message(rule, found), where=str(places[rule.place]), fix=rule.fix)
            for rule, found in self._found.items()
            if found.count and rule.severity == "error"
        ]
        if errors:
            raise DataError.joined(errors)

    def notes(self) -> tuple[str, ...]:
        """What was found that is not an error, one sentence each."""
        return tuple(
            _message(rule, found)
            for rule, found in self._found.items()
            if found.count and rule.severity != "error"
        )


def _message(rule: Rule, found: Found) -> str:
    return rule.says.format(cases=found.listed(), count=found.count)
