"""The backbone under check: its options, its instances, and batches that suit it.

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
"""How far apart maps may be that are equal but for the order of sums, of their largest value."""


@dataclass(frozen=True)
class Subject:
    """A class of backbone, and the options that the caller gave, with where they came from."""

    kind: type[Backbone]
    given: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @cached_property
    def tiny(self) -> Mapping[str, Any] | None:
        """What the class itself says of a size for a CPU."""
        try:
            whole = self.kind.Options.model_validate_json(json.dumps(dict(self.given)))
        except ValidationError:  # some option has no default: `tiny` may bring it
            return self.kind.tiny(dict(self.given))
        return self.kind.tiny(whole.model_dump(mode="json"))

    @cached_property
    def options(self) -> BackboneOptions:
        """The options in use: those of `tiny`, and above them those given."""
        values = {**(self.tiny or {}), **self.given}
        return check_options(self.kind.Options, values, self.origins)

    def build(self, seed: int = 0) -> Backbone:
        """A new instance in training mode, its weights drawn from `seed`."""
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
    """The same as `mimdet eval` has them: evaluation mode, no gradients."""
    backbone.eval()
    with torch.inference_mode():
        return maps_of(backbone, images, sizes, seed)


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected value."""
    scale = expected.float().abs().max().clamp_min(1e-12)
    return float((found.float() - expected.float()).abs().max() / scale)


def several(names: Sequence[str], shown: int = 4) -> str:
    """The first names in quotes, and how many more there are."""
    return first_of([f"'{name}'" for name in names], shown)


def pixels(shape: Sequence[int]) -> str:
    """Height and width in words."""
    return f"{shape[0]} x {shape[1]}"
