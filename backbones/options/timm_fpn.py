"""Options of timm's hierarchical feature models with a feature pyramid network.

Names of models are read in timm's source, as timm itself loads torch: a model is a function below
`@register_model`. Deprecated names are left out.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from backbones.options.base import BackboneOptions, Norm
from backbones.options.effects import Role

REGISTERED = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)

LABELS = {
    "swin_transformer": "Swin",
    "convnext": "ConvNeXt",
    "pvt_v2": "PVTv2",
    "resnet": "ResNet",
    "mvitv2": "MViTv2",
}
"""Names of the families, by the timm module that defines their models."""
FREE_WIDTH = frozenset({"swin_transformer"})
"""Families whose first stage can have another width."""
SWIN_HEAD = 32
"""Channels of an attention head of every Swin."""


@cache
def models_in(module: str) -> tuple[str, ...]:
    """The models that `timm.models.MODULE` defines, in timm's order."""
    text = (_folder() / f"{module}.py").read_text(encoding="utf-8")
    return tuple(sorted(REGISTERED.findall(text), key=_natural))


@cache
def all_models() -> Mapping[str, str]:
    """The module that defines each model of timm, in timm's order of names."""
    modules = (path.stem for path in sorted(_folder().glob("*.py")))
    found = {model: module for module in modules for model in models_in(module)}
    return {model: found[model] for model in sorted(found, key=_natural)}


def _folder() -> Path:
    spec = find_spec("timm")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "models"


def _natural(name: str) -> list[int | str]:
    """Numbers inside names in the order of their values."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]


def module_of(model: str) -> str | None:
    """The timm module that defines `model`, one of ours looked up first; None for no model."""
    own = (family for family in LABELS if model in models_in(family))
    return next(own, None) or all_models().get(model)


def family_of(model: str) -> str:
    """The timm module that defines a model of ours."""
    return next(family for family in LABELS if model in models_in(family))


def has_batch_norm(model: str) -> bool:
    """Whether the model normalises by batch; ResNets do, except their GroupNorm variant."""
    return family_of(model) == "resnet" and not model.endswith("_gn")


def unknown(model: str) -> str:
    """The message about a name that timm does not know."""
    usable = [name for name, module in all_models().items() if module in LABELS]
    stem = model.partition(".")[0]
    longer = [name for name in usable if name.startswith(stem)]  # names are often shortened
    near = get_close_matches(stem, longer or usable, 3, cutoff=0.0 if longer else 0.4)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return f"timm has no model of that name{hint}"


class TimmFPNOptions(BackboneOptions):
    """Options of timm's feature models with an FPN; the defaults are Swin-T's in mmdetection."""

    model: str = "swin_tiny_patch4_window7_224"
    """Name of a Swin, ConvNeXt, PVTv2, ResNet or MViTv2 in timm, without a tag of weights."""
    width: Annotated[int | None, Field(ge=SWIN_HEAD, multiple_of=SWIN_HEAD), Role.SIZE] = None
    """Channels of a Swin's first stage, 32 to a head; null keeps the model's own."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Stochastic depth of the last block; earlier ones rise to it linearly."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: Norm = "none"
    """Normalisation in the pyramid; without one its convolutions have biases."""
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = -1
    """Stages that keep their weights: 0 freezes the stem, k also the first k stages, -1 nothing.
    mmdetection's ResNets use 1, its transformers -1."""
    frozen_bn: bool = False
    """Keep the running statistics of batch norms as loaded (ResNet); mmdetection does. Scales and
    offsets still learn, except in frozen stages."""

    @field_validator("model")
    @classmethod
    def _is_supported(cls, model: str) -> str:
        if module_of(model) is None:
            raise ValueError(f"'backbone.model' cannot be '{model}': {unknown(model)}")
        if module_of(model) not in LABELS:
            labels = ", ".join(LABELS.values())
            raise ValueError(
                f"'backbone.model' cannot be '{model}': supported families are {labels}"
            )
        if family_of(model) == "mvitv2" and model.endswith("_cls"):
            others = ", ".join(name for name in models_in("mvitv2") if "_cls" not in name)
            raise ValueError(
                f"'backbone.model' cannot be '{model}': a detector has no class token; "
                f"use one of {others}"
            )
        return model

    @model_validator(mode="after")
    def _width_is_free(self) -> Self:
        if self.width is not None and family_of(self.model) not in FREE_WIDTH:
            raise ValueError(
                f"'backbone.width' cannot be {self.width}: '{self.model}' has a fixed "
                "width; omit it, or use a Swin"
            )
        return self

    @model_validator(mode="after")
    def _bn_is_there(self) -> Self:
        if self.frozen_bn and not has_batch_norm(self.model):
            raise ValueError(
                f"'backbone.frozen_bn' cannot be true: '{self.model}' has no batch norms; "
                "set it to false, or use a ResNet"
            )
        return self
