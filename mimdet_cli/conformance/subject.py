"""The backbone under check: its options, its instances, and passes over suitable batches.

images (B, 3, H, W), padded with zeros by the backbone's own rule; sizes (B, 2)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from backbones.contract import Backbone
from backbones.options.base import BackboneOptions
from heads.mask_rcnn import canvas
from mimdet_cli.recipe.load import check_options
from mimdet_cli.recipe.reading import Origin
from mimdet_cli.words import first_of

ORDINARY = ((96, 128), (64, 96))
FLOAT32 = 1e-4
"""Allowed difference of maps that differ by the order of sums only, as a share of the largest."""
NUDGE = 0.02


@dataclass(frozen=True)
class Subject:
    """A class of backbone, and the options that the caller gave, with where they came from."""

    kind: type[Backbone]
    given: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @cached_property
    def tiny(self) -> Mapping[str, Any] | None:
        """The options that the class itself gives for a CPU."""
        try:
            whole = self.kind.Options.model_validate_json(json.dumps(dict(self.given)))
        except ValidationError:  # an option has no default; `tiny` may give it
            return self.kind.tiny(dict(self.given))
        return self.kind.tiny(whole.model_dump(mode="json"))

    @cached_property
    def options(self) -> BackboneOptions:
        """The options in use: those of `tiny`, overridden by those given."""
        values = {**(self.tiny or {}), **self.given}
        return check_options(self.kind.Options, values, self.origins)

    def build(self, seed: int = 0) -> Backbone:
        """A new instance in training mode, its weights random from `seed`."""
        torch.manual_seed(seed)
        return self.kind(self.options)


def batch(
    backbone: Backbone, shapes: Sequence[tuple[int, int]] = ORDINARY, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Normal noise of `shapes` on one canvas; what exceeds the backbone's square is cut."""
    largest = backbone.padding.square or max(max(shape) for shape in shapes)
    fitting = [(min(height, largest), min(width, largest)) for height, width in shapes]
    images = torch.zeros(len(fitting), 3, *canvas(fitting, backbone.padding))
    generator = torch.Generator().manual_seed(seed)
    for place, (height, width) in zip(images, fitting, strict=True):
        place[:, :height, :width] = torch.randn(3, height, width, generator=generator)
    return images, torch.tensor(fitting)


def maps_of(backbone: Backbone, images: Tensor, sizes: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The maps of copies of the input, with random numbers from `seed`."""
    torch.manual_seed(seed)
    return backbone(images.clone(), sizes.clone())


def evaluated(
    backbone: Backbone, images: Tensor, sizes: Tensor, seed: int = 0
) -> dict[str, Tensor]:
    """The maps as in `mimdet eval`: evaluation mode, no gradients."""
    backbone.eval()
    with torch.inference_mode():
        return maps_of(backbone, images, sizes, seed)


def nudge(backbone: Backbone) -> None:
    """Perturb every trainable parameter, always alike."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=NUDGE)


def backward(backbone: Backbone, images: Tensor, sizes: Tensor, seed: int = 0) -> None:
    """Gradients of a random weighting of all maps, which no normalisation can make constant."""
    maps = maps_of(backbone, images, sizes, seed)
    generator = torch.Generator().manual_seed(seed)
    torch.autograd.backward(
        [x for x in maps.values() if x.requires_grad],
        [
            torch.randn(x.shape, generator=generator).to(x.dtype)
            for x in maps.values()
            if x.requires_grad
        ],
    )


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected value."""
    scale = expected.float().abs().max().clamp_min(1e-12)
    return float((found.float() - expected.float()).abs().max() / scale)


def several(names: Sequence[str], shown: int = 4) -> str:
    """The first names in quotes, and how many more there are."""
    return first_of([f"'{name}'" for name in names], shown)


def pixels(shape: Sequence[int]) -> str:
    """Height x width, as text."""
    return f"{shape[0]} x {shape[1]}"
