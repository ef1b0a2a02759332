"""The class behind a backbone's name, checked to keep the contract; without the rest of `build`."""

from inspect import isfunction
from textwrap import shorten
from typing import Any

from backbones.contract import CONTRACT_VERSION, Backbone
from backbones.options.base import BackboneOptions
from mimdet_cli import plugins
from mimdet_cli.errors import PluginError

EDITS = {
    1: "install a version of its package that matches, or edit the class: take out `from_options`, "
    "let `__init__(self, options)` do its work, beginning with `super().__init__(options)`; let "
    "`tokens_seen(height, width)` stand for the attribute `tokens`, and `Options.token_sampling` "
    "name the option that --ratio sets; and write `contract = 2`.",
}
"""What makes a class of an older version keep this one."""
LEFTOVERS = ("from_options", "tokens")
"""Members that version 1 asked for, and version 2 does without."""


def backbone_class(name: str) -> type[Backbone]:
    """The class behind a backbone's name, checked to keep this version of the contract."""
    found = plugins.load(name)
    wrong = breach(found)
    if wrong is not None:
        claim = plugins.find(name)
        what, fix = wrong
        raise PluginError(
            f"the backbone '{name}' {what}", where=f"{claim.value} of {claim.provider}", fix=fix
        )
    _refuse_other_options(name, found)
    return found


def _refuse_other_options(name: str, found: type[Backbone]) -> None:
    """The class's `Options` have to be those that the group of options names, if it names any."""
    declared = plugins.options_claim(plugins.find(name))
    if declared is None or plugins.load_claim(declared) is found.Options:
        return
    raise PluginError(
        f"the backbone '{name}' has other options than its distribution declares.",
        where=f"{declared.value} of {declared.provider}",
        fix=f"let the group {plugins.OPTIONS_GROUP} name the class that is its `Options`.",
    )


def breach(found: Any) -> tuple[str, str] | None:
    """What keeps the object behind an entry point from being a backbone, and what mends it."""
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        return (
            f"is {shorten(repr(found), 80)}, not a class derived from Backbone.",
            "derive it from mimdet_cli.plugin_api.Backbone.",
        )
    leftover = _leftovers(found)
    version = 1 if leftover else found.contract
    if version != CONTRACT_VERSION:
        told = f" It has `{'` and `'.join(leftover)}` of version 1." if leftover else ""
        return (
            f"keeps version {version} of the contract, this mimdet needs {CONTRACT_VERSION}.{told}",
            EDITS.get(version, "install a version of its package that matches."),
        )
    if missing := sorted(found.__abstractmethods__):
        return f"does not define {', '.join(missing)}.", "every backbone has to define these."
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BackboneOptions)):
        return (
            "has no Options.",
            "give it a class derived from mimdet_cli.plugin_api.BackboneOptions.",
        )
    return None


def _leftovers(kind: type[Backbone]) -> list[str]:
    """The members of version 1 that a class has which writes no version of its own.

    A class that writes one may use the names as it likes; a method `tokens` is none of version 1.
    """
    own = [vars(base) for base in kind.__mro__ if base not in Backbone.__mro__]
    if any("contract" in members for members in own):
        return []
    found = {name: members[name] for members in own for name in LEFTOVERS if name in members}
    if isfunction(found.get("tokens")):
        del found["tokens"]
    return sorted(found)
