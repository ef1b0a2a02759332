"""Load the class of a named backbone and check it against the contract, without `build`."""

from inspect import isfunction
from textwrap import shorten
from typing import Any

from backbones.contract import CONTRACT_VERSION, Backbone
from backbones.options.base import BackboneOptions
from mimdet_cli import plugins
from mimdet_cli.errors import PluginError

EDITS = {
    1: "install a matching version of its package, or edit the class: replace `from_options` by "
    "`__init__(self, options)`, which starts with `super().__init__(options)`; replace the "
    "attribute `tokens` by `tokens_seen(height, width)`; name the option that --ratio sets in "
    "`Options.token_sampling`; write key maps and the `names` (not `pattern`) of a "
    "`ParameterRule` as templates such as `blocks.{i}.{rest}`, not regular expressions; and set "
    "`contract = 2`.",
}
"""How to migrate a class from an older version of the contract."""
LEFTOVERS = ("from_options", "tokens")
"""Members that version 1 required and version 2 does not have."""


def backbone_class(name: str) -> type[Backbone]:
    """The class of a named backbone, checked against this version of the contract."""
    kind = plugins.load(name)
    problem = breach(kind)
    if problem is not None:
        registration = plugins.find(name)
        what, fix = problem
        raise PluginError(
            f"the backbone '{name}' {what}",
            where=f"{registration.value} of {registration.provider}",
            fix=fix,
        )
    _refuse_other_options(name, kind)
    return kind


def _refuse_other_options(name: str, kind: type[Backbone]) -> None:
    """Raise unless the class's `Options` are those that its distribution registers, if any."""
    declared = plugins.options_registration(plugins.find(name))
    if declared is None or plugins.load_registration(declared) is kind.Options:
        return
    raise PluginError(
        f"the `Options` of the backbone '{name}' are not those that its distribution registers.",
        where=f"{declared.value} of {declared.provider}",
        fix=f"register the `Options` class in the group {plugins.OPTIONS_GROUP}.",
    )


def breach(candidate: Any) -> tuple[str, str] | None:
    """Why an entry point's object is not a valid backbone, and how to fix it; None if it is."""
    if not (isinstance(candidate, type) and issubclass(candidate, Backbone)):
        return (
            f"is {shorten(repr(candidate), 80)}, not a subclass of Backbone.",
            "derive it from mimdet_cli.plugin_api.Backbone.",
        )
    leftover = _leftovers(candidate)
    version = 1 if leftover else candidate.contract
    if version != CONTRACT_VERSION:
        evidence = f" It has `{'` and `'.join(leftover)}` of version 1." if leftover else ""
        return (
            f"implements contract version {version}; mimdet needs {CONTRACT_VERSION}.{evidence}",
            EDITS.get(version, "install a matching version of its package."),
        )
    if missing := sorted(candidate.__abstractmethods__):
        return f"does not define {', '.join(missing)}.", "define them: every backbone must."
    options = getattr(candidate, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BackboneOptions)):
        return (
            "has no Options.",
            "set it to a subclass of mimdet_cli.plugin_api.BackboneOptions.",
        )
    return None


def _leftovers(kind: type[Backbone]) -> list[str]:
    """The version 1 members of a class that does not state its contract version.

    A class that does may use these names freely, and a method `tokens` is not of version 1.
    """
    own = [vars(base) for base in kind.__mro__ if base not in Backbone.__mro__]
    if any("contract" in members for members in own):
        return []
    leftovers = {name: members[name] for members in own for name in LEFTOVERS if name in members}
    if isfunction(leftovers.get("tokens")):
        del leftovers["tokens"]
    return sorted(leftovers)
