"""The names promised to third-party backbones; everything else in mimdet may move.

A backbone subclasses `Backbone`, and is declared in its own `pyproject.toml`:

    [project.entry-points."mimdet.backbones"]
    my-backbone = "my_package:MyBackbone"

What it promises is checked by `mimdet backbones check my-backbone`, and in its package's tests,
each promise a test of its own:

    import pytest
    from mimdet_cli.plugin_api import promises
    from my_package import MyBackbone

    @pytest.mark.parametrize("promise", promises())
    def test_my_backbone_keeps(promise):
        promise.check(MyBackbone)  # or promise.check(MyBackbone, {"depth": 4})

`CONTRACT_VERSION` is the version of all of this: of the base class, of what the head and the
optimizer read off it, and of the names below. It rises when a backbone that kept its promises no
longer would; names may be added without that. A backbone of another version is refused by name.

An option that may be "syncbn" is a `Norm`, or `Annotated[Literal[...], NORM_NAME]` where fewer
names are allowed: in a single process it is then "bn", whatever the option is called.

A module that takes no more than `BackboneOptions` and these from here loads without torch. Options
in such a module may be declared too, so that recipes are checked and shown in a moment:

    [project.entry-points."mimdet.options"]
    my-backbone = "my_package.options:MyOptions"
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backbones.options.base import NORM_NAME, BackboneOptions, Norm, TokenSampling
from backbones.options.effects import Effect, Identity, Role

if TYPE_CHECKING:
    from backbones.contract import (
        CONTRACT_VERSION,
        Backbone,
        Level,
        Padding,
        ParameterRule,
        Rate,
    )
    from backbones.key_maps.rename import Drop, KeyMap, Rule, Stack, Trim
    from backbones.layers.fpn import FPN
    from backbones.layers.simple_pyramid import SimplePyramid
    from mimdet_cli.conformance.promise import Promise
    from mimdet_cli.conformance.report import Report

__all__ = [
    "CONTRACT_VERSION",
    "FPN",
    "NORM_NAME",
    "Backbone",
    "BackboneOptions",
    "Drop",
    "Effect",
    "Identity",
    "KeyMap",
    "Level",
    "Norm",
    "Padding",
    "ParameterRule",
    "Rate",
    "Role",
    "Rule",
    "SimplePyramid",
    "Stack",
    "TokenSampling",
    "Trim",
    "check_backbone",
    "promises",
]

WITH_TORCH = {
    "backbones.contract": (
        "CONTRACT_VERSION", "Backbone", "Level", "Padding", "ParameterRule", "Rate",
    ),
    "backbones.key_maps.rename": ("Drop", "KeyMap", "Rule", "Stack", "Trim"),
    "backbones.layers.fpn": ("FPN",),
    "backbones.layers.simple_pyramid": ("SimplePyramid",),
}  # fmt: skip
"""Names by the module that has them, each of which loads torch and is imported on use."""


def __getattr__(name: str) -> Any:
    for module, names in WITH_TORCH.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def promises() -> "tuple[Promise, ...]":
    """What every backbone promises; `promise.check(MyBackbone)` raises AssertionError if it breaks.

    Each has a `name`, a `sentence` and a `fix`.
    """
    from mimdet_cli.conformance.check import PROMISES  # the head loads here

    return PROMISES


def check_backbone(kind: "type[Backbone]", options: Mapping[str, Any] | None = None) -> "Report":
    """All promises at once: the report has `kept`, `broken`, `lines()` and `to_json()`.

    `options` stand above those of `kind.tiny`; RecipeError if they are wrong.
    """
    from mimdet_cli.conformance.check import check_backbone as check

    return check(kind, options)
