"""The stable API for third-party backbones; everything else in mimdet may move.

A backbone subclasses `Backbone`, and its `pyproject.toml` registers it:

    [project.entry-points."mimdet.backbones"]
    my-backbone = "my_package:MyBackbone"

`mimdet backbones check my-backbone` checks its promises. To check them in the package's tests, one
test per promise:

    import pytest
    from mimdet_cli.plugin_api import promises
    from my_package import MyBackbone

    @pytest.mark.parametrize("promise", promises())
    def test_my_backbone_keeps(promise):
        promise.check(MyBackbone)  # or promise.check(MyBackbone, {"depth": 4})

`CONTRACT_VERSION` covers the base class, what the head and the optimizer read from it, and the
names below. It increases when an existing backbone could break; adding names does not change it.
A backbone of another version is refused with an error.

Annotate an option that may be "syncbn" as `Norm`, or as `Annotated[Literal[...], NORM_NAME]` to
allow fewer names: in a single process it becomes "bn", whatever the option is called.

A module that imports only `BackboneOptions`, `Norm`, `NORM_NAME`, `TokenSampling`, `Effect`,
`Identity` and `Role` from here loads without torch. Register the options from such a module too,
so that recipes are checked and shown quickly:

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
"""Names whose modules load torch, by module; imported on first use."""


def __getattr__(name: str) -> Any:
    for module, names in WITH_TORCH.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def promises() -> "tuple[Promise, ...]":
    """Every promise of the contract, with a `name`, a `sentence` and a `fix`.

    `promise.check(MyBackbone)` raises AssertionError if the backbone breaks it.
    """
    from mimdet_cli.conformance.check import PROMISES  # loads torch

    return PROMISES


def check_backbone(kind: "type[Backbone]", options: Mapping[str, Any] | None = None) -> "Report":
    """Check all promises; the report has `kept`, `broken`, `lines()` and `to_json()`.

    `options` override those of `kind.tiny`; invalid ones raise RecipeError.
    """
    from mimdet_cli.conformance.check import check_backbone as check

    return check(kind, options)
