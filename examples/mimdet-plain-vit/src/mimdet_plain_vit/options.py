"""Which models of timm are plain ViTs, and what a recipe may set."""

import re
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from timm import create_model
from timm.models import list_models, model_entrypoint

from mimdet_cli.plugin_api import BackboneOptions, Norm

PATCH = 16
HEAD = 64
"""Channels of an attention head, where a recipe sets the width."""
MODULES = ("vision_transformer", "deit", "beit")
PLAIN = re.compile(r"(?:vit|deit3?|beit(?:v2|3)?|flexivit)_(?!\w*radio)\w+")
PATCHES = re.compile(r"_patch(?!1[46]_)\d+_")
FAMILIES = "vit_*, deit_*, deit3_*, beit_*, beitv2_*, beit3_* or flexivit_*"


@cache
def plain_models() -> tuple[str, ...]:
    """The names in timm that this backbone takes, with patches of 14 or 16 pixels."""
    return tuple(
        name
        for name in list_models()
        if PLAIN.fullmatch(name)
        and not PATCHES.search(name)
        and model_entrypoint(name).__module__.rpartition(".")[2] in MODULES
    )


def is_beit(model: str) -> bool:
    """Whether attention of the model has tables of relative positions."""
    return model_entrypoint(model).__module__.endswith(".beit")


class PlainViTOptions(BackboneOptions):
    """Options; the defaults are DINOv2's Base, whose blocks all attend to the whole image."""

    model: str = "vit_base_patch14_dinov2"
    """Name of a plain ViT in timm, without a tag of weights, with patches of 14 or 16 pixels."""
    width: Annotated[int, Field(ge=HEAD, multiple_of=HEAD)] | None = None
    """Width of the tokens, 64 to a head; null keeps the model's own, for published weights."""
    depth: Annotated[int, Field(ge=4)] | None = None
    """Blocks; null keeps the model's own, for published weights."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the last block; earlier ones rise to it linearly."""
    grid: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Side of the stored positions in tokens; 64 are 1024 pixels. BEiT pads images to this square,
    others take any size."""
    window: Annotated[int, Field(ge=1)] | None = None
    """Side in tokens of the windows in which all but the global blocks attend; null: no windows."""
    global_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Blocks, from 0, that attend over the whole image; null is the last of each quarter."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Channels of every map of the pyramid."""
    norm: Norm = "ln"
    """Normalisation in the pyramid."""
    checkpoint_activations: bool = False
    """Recompute the blocks in the backward pass: less memory, about a third more time."""

    @field_validator("model")
    @classmethod
    def _is_plain(cls, model: str) -> str:
        usable = plain_models()
        if model in usable:
            return model
        stem = model.partition(".")[0]  # a tag of weights is often left on
        near = get_close_matches(stem, usable, 3, cutoff=0.5)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        if model in list_models():
            reason = f"it has to be one of {FAMILIES} with patches of 14 or 16 pixels"
        else:
            reason = "timm has no model of that name"
        raise ValueError(f"'backbone.model' cannot be '{model}': {reason}{hint}")

    @model_validator(mode="after")
    def _width_fits(self) -> Self:
        if self.width is not None:
            try:
                built_nowhere(self)
            except AssertionError as error:  # of timm: a gated perceptron splits its width in two
                raise ValueError(
                    f"'backbone.width' cannot be {self.width}: '{self.model}' cannot be split at "
                    "it; a multiple of 384 always can"
                ) from error
        return self

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Self:
        if self.global_blocks is None:
            return self
        if self.window is None:
            raise ValueError(
                "'backbone.global_blocks' has no meaning without 'backbone.window': all blocks "
                "attend over the whole image"
            )
        depth = len(built_nowhere(self).blocks)
        if beyond := [index for index in self.global_blocks if index >= depth]:
            raise ValueError(
                f"'backbone.global_blocks' has {beyond}, but there are blocks 0 to {depth - 1}"
            )
        return self


def timm_model(options: PlainViTOptions) -> Any:
    """The model for patches of 16 pixels and positions of the wanted grid, randomly initialised."""
    changed: dict[str, Any] = {"patch_size": PATCH, "img_size": PATCH * options.grid}
    if options.width is not None:
        changed |= {"embed_dim": options.width, "num_heads": options.width // HEAD}
    if options.depth is not None:
        changed["depth"] = options.depth
    if is_beit(options.model):
        changed["use_rel_pos_bias"] = False  # ours, see `positions.py`
    return create_model(options.model, num_classes=0, drop_path_rate=options.drop_path, **changed)


def built_nowhere(options: PlainViTOptions) -> Any:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return timm_model(options)
