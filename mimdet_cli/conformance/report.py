"""The result of checking a backbone, as text and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimdet_cli.conformance.promise import PromiseOutcome, Status
from mimdet_cli.errors import PluginError

WORDS: dict[Status, str] = {"kept": "ok", "broken": "FAILED", "unclear": "unclear"}


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of every promise of one backbone, at the options that were checked.

    `options` is None if no instance could be built; `is_tiny` says whether they include those of
    `Backbone.tiny`.
    """

    backbone: str
    source: str
    options: Mapping[str, Any] | None
    is_tiny: bool
    outcomes: tuple[PromiseOutcome, ...]

    @property
    def broken(self) -> list[str]:
        """Names of the broken promises."""
        return [outcome.promise.name for outcome in self.outcomes if outcome.status == "broken"]

    @property
    def kept(self) -> bool:
        """Whether every promise is kept."""
        return all(outcome.status == "kept" for outcome in self.outcomes)

    def error(self) -> PluginError | None:
        """The error that the command ends with, exit code 5; None if every promise is kept."""
        if self.kept:
            return None
        count = f"{len(self.broken)} of {len(self.outcomes)} promises"
        return PluginError(
            f"the backbone '{self.backbone}' breaks {count}: {', '.join(self.broken)}.",
            where=self.source,
            fix=self._first_fix(),
        )

    def to_json(self) -> dict[str, Any]:
        """Times in seconds; `broken` lists what was found against each promise."""
        return {
            "backbone": self.backbone,
            "source": self.source,
            "options": None if self.options is None else dict(self.options),
            "tiny": self.is_tiny,
            "kept": self.kept,
            "promises": [
                {
                    "name": outcome.promise.name,
                    "sentence": outcome.promise.sentence,
                    "status": outcome.status,
                    "measured": outcome.finding.measured or None,
                    "broken": list(outcome.finding.broken),
                    "because": outcome.because,
                    "fix": outcome.promise.fix if outcome.status == "broken" else None,
                    "seconds": round(outcome.seconds, 3),
                }
                for outcome in self.outcomes
            ],
        }

    def lines(self) -> list[str]:
        """A line per promise; below a broken one, the numbers and the fix."""
        seconds = sum(outcome.seconds for outcome in self.outcomes)
        kept = sum(outcome.status == "kept" for outcome in self.outcomes)
        shown = [line for outcome in self.outcomes for line in _shown(outcome)]
        size = {True: ", at its tiny size", False: ", at the given or default options"}
        options = size[self.is_tiny] if self.options is not None else ""
        return [
            f"{self.backbone} ({self.source}){options}",
            "",
            *shown,
            "",
            f"{kept} of {len(self.outcomes)} promises kept, {seconds:.1f} s",
        ]

    def _first_fix(self) -> str:
        return next(outcome.promise.fix for outcome in self.outcomes if outcome.status == "broken")


def _shown(outcome: PromiseOutcome) -> list[str]:
    promise, finding = outcome.promise, outcome.finding
    line = f"{WORDS[outcome.status]:<8} {promise.name:<12} {promise.sentence}"
    if outcome.status == "kept":
        return [f"{line} ({finding.measured})"]
    findings = [f"{'':21} {breach}" for breach in finding.broken]
    if outcome.because is not None:
        return [f"{line}: cannot be judged until '{outcome.because}' is kept", *findings]
    return [line, *findings, f"{'':21} fix: {promise.fix}"]
