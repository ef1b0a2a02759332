"""The names promised to third-party backbones; everything else in mimdet may move.

A backbone subclasses `Backbone`, keeps its promises, and is declared in its own `pyproject.toml`:

    [project.entry-points."mimdet.backbones"]
    my-backbone = "my_package:MyBackbone"
"""

from backbones.contract import (
    CONTRACT_VERSION,
    Backbone,
    BackboneOptions,
    Level,
    Padding,
    ParameterRule,
    Rate,
)
from backbones.key_maps.rename import Drop, KeyMap
from backbones.layers.fpn import FPN
from backbones.layers.simple_pyramid import SimplePyramid

__all__ = [
    "CONTRACT_VERSION",
    "FPN",
    "Backbone",
    "BackboneOptions",
    "Drop",
    "KeyMap",
    "Level",
    "Padding",
    "ParameterRule",
    "Rate",
    "SimplePyramid",
]
