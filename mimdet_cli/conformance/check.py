"""Check every promise of a backbone, given as a class or by its registered name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backbones.contract import Backbone
from mimdet_cli import plugins
from mimdet_cli.backbone_class import backbone_class
from mimdet_cli.conformance.promise import Outcome, Verdict, examine
from mimdet_cli.conformance.promises import PROMISES
from mimdet_cli.conformance.report import Report
from mimdet_cli.conformance.subject import Subject
from mimdet_cli.conformance.surroundings import changes, preserved, read_all
from mimdet_cli.errors import PluginError
from mimdet_cli.recipe.overrides import parse_overrides
from mimdet_cli.recipe.reading import Origin

FIRST = PROMISES[0]
AT_IMPORT = ("default", "number of threads", "deterministic", "gradient mode", "torch's seed")
"""Settings that no import has to touch; warning filters and variables are set by many libraries."""


def check_backbone(kind: type[Backbone], options: Mapping[str, Any] | None = None) -> Report:
    """The report on a class, at `options` above its tiny ones; RecipeError if they are wrong."""
    return _report(Subject(kind, options or {}), kind.__name__, kind.__module__)


def check(name: str, sets: Sequence[str] = ()) -> Report:
    """The report on the backbone registered as `name`; `sets` are `KEY=VALUE` of its options.

    PluginError if there is none of that name. One that cannot be loaded breaks `builds`.
    """
    claim = plugins.find(name)
    given: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for override in parse_overrides(sets):
        given |= override.nested()
        origins |= {f"backbone.{key}": origin for key, origin in override.origins().items()}
    source = f"{claim.value} of {claim.provider}"
    with preserved():
        before = read_all()
        try:
            kind = backbone_class(name)
        except PluginError as error:
            failed = Outcome(FIRST, Verdict("", (str(error),)), 0.0)
            return Report(name, source, None, False, (failed, *_unclear()))
        done = [one for one in changes(before, read_all()) if one.startswith(AT_IMPORT)]
    report = _report(Subject(kind, given, origins), name, source)
    return replace(report, outcomes=tuple(_with(one, done) for one in report.outcomes))


def _report(subject: Subject, name: str, source: str) -> Report:
    first = examine(FIRST, subject)
    if first.status == "broken":
        return Report(name, source, None, False, (first, *_unclear()))
    found = {one.name: examine(one, subject) for one in PROMISES[1:]}
    outcomes = (first, *_judged(found))
    options = subject.options.model_dump(mode="json")
    return Report(name, source, options, subject.tiny is not None, outcomes)


def _judged(found: Mapping[str, Outcome]) -> Iterator[Outcome]:
    """Outcomes, in which what may only follow from another broken promise is unclear."""
    for outcome in found.values():
        broken = [name for name in outcome.promise.needs if found[name].verdict.broken]
        if outcome.verdict.broken and broken:
            yield replace(outcome, because=broken[0])
        else:
            yield outcome


def _unclear() -> Iterator[Outcome]:
    """All but the first, none of which can be checked without an instance."""
    return (Outcome(one, Verdict(""), 0.0, because=FIRST.name) for one in PROMISES[1:])


def _with(outcome: Outcome, done_at_import: Sequence[str]) -> Outcome:
    if outcome.promise.name != "globals" or not done_at_import:
        return outcome
    broken = (*(f"importing it: {one}" for one in done_at_import), *outcome.verdict.broken)
    return replace(outcome, verdict=replace(outcome.verdict, broken=broken))
