"""Check every promise of a backbone, given as a class or by its registered name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from backbones.contract import Backbone
from mimdet_cli import plugins
from mimdet_cli.backbone_class import backbone_class
from mimdet_cli.conformance import building, maps, names, sampling, side_effects, training
from mimdet_cli.conformance.promise import Finding, PromiseOutcome, examine
from mimdet_cli.conformance.report import Report
from mimdet_cli.conformance.subject import Subject
from mimdet_cli.conformance.surroundings import changes, preserved, read_all
from mimdet_cli.errors import PluginError
from mimdet_cli.recipe.overrides import parse_overrides
from mimdet_cli.recipe.reading import Origin

PROMISES = (
    building.builds,
    maps.levels,
    maps.batch_invariance,
    maps.determinism,
    side_effects.inputs,
    training.gradients,
    building.state,
    building.options,
    names.depth,
    names.rules,
    names.key_maps,
    maps.bf16,
    maps.compiles,
    maps.exports,
    sampling.sampling,
    side_effects.global_state,
    side_effects.memory,
    training.learning,
)
"""The promises of a backbone, in the order in which they are checked and shown."""
FIRST = PROMISES[0]
AT_IMPORT = ("default", "number of threads", "deterministic", "gradient mode", "torch's seed")
"""Settings that no import may change; many libraries set warning filters and variables."""


def check_backbone(kind: type[Backbone], options: Mapping[str, Any] | None = None) -> Report:
    """Check a class at its tiny options and, above them, `options`; RecipeError for wrong ones."""
    return _report(Subject(kind, options or {}), kind.__name__, kind.__module__)


def check(name: str, sets: Sequence[str] = ()) -> Report:
    """Check the backbone registered as `name`; `sets` are `KEY=VALUE` of its options.

    PluginError if there is no such name. A backbone that cannot be loaded breaks `builds`.
    """
    registration = plugins.find(name)
    given: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for override in parse_overrides(sets):
        given |= override.nested()
        origins |= {f"backbone.{key}": origin for key, origin in override.origins().items()}
    source = f"{registration.value} of {registration.provider}"
    with preserved():
        before = read_all()
        try:
            kind = backbone_class(name)
        except PluginError as error:
            failed = PromiseOutcome(FIRST, Finding("", (str(error),)), 0.0)
            return Report(name, source, None, False, (failed, *_unclear()))
        done = [change for change in changes(before, read_all()) if change.startswith(AT_IMPORT)]
    report = _report(Subject(kind, given, origins), name, source)
    return replace(report, outcomes=tuple(_with(outcome, done) for outcome in report.outcomes))


def _report(subject: Subject, name: str, source: str) -> Report:
    first = examine(FIRST, subject)
    if first.status == "broken":
        return Report(name, source, None, False, (first, *_unclear()))
    found = {promise.name: examine(promise, subject) for promise in PROMISES[1:]}
    outcomes = (first, *_judged(found))
    options = subject.options.model_dump(mode="json")
    return Report(name, source, options, subject.tiny is not None, outcomes)


def _judged(found: Mapping[str, PromiseOutcome]) -> Iterator[PromiseOutcome]:
    """Outcomes, unclear where the finding may follow from another broken promise."""
    for outcome in found.values():
        broken = [name for name in outcome.promise.needs if found[name].finding.broken]
        if outcome.finding.broken and broken:
            yield replace(outcome, because=broken[0])
        else:
            yield outcome


def _unclear() -> Iterator[PromiseOutcome]:
    """All promises but the first: none can be checked without an instance."""
    return (
        PromiseOutcome(promise, Finding(""), 0.0, because=FIRST.name) for promise in PROMISES[1:]
    )


def _with(outcome: PromiseOutcome, done_at_import: Sequence[str]) -> PromiseOutcome:
    if outcome.promise.name != "globals" or not done_at_import:
        return outcome
    broken = (*(f"importing it: {change}" for change in done_at_import), *outcome.finding.broken)
    return replace(outcome, finding=replace(outcome.finding, broken=broken))
