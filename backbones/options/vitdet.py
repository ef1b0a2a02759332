"""Options of ViTDet (Li et al., ECCV 2022, arXiv:2203.16527)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from backbones.options.base import BackboneOptions, Norm
from backbones.options.effects import Role
from backbones.options.transformer import PATCH, unfit_blocks, unfit_heads


class ViTDetOptions(BackboneOptions):
    """Options of the ViTDet backbone; the defaults are the released Base."""

    width: Annotated[int, Field(ge=4, multiple_of=4), Role.SIZE] = 768
    """Width of the tokens."""
    depth: Annotated[int, Field(ge=1), Role.SIZE] = 12
    """Transformer blocks."""
    heads: Annotated[int, Field(ge=1)] = 12
    """Attention heads of a block."""
    window: Annotated[int, Field(ge=1)] = 14
    """Side in tokens of the windows in which all but the global blocks attend."""
    global_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Blocks, from 0, that attend over the whole image; null is the last of each quarter."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the last block; earlier ones rise to it linearly."""
    image_size: Annotated[int, Field(ge=32, multiple_of=16)] = 1024
    """Side in pixels of the image that the global blocks' position tables are stored for."""
    grid: Annotated[int, Field(ge=1)] = 14
    """Side of the stored table of absolute positions; it is resized to each image's grid."""
    rel_pos: bool = True
    """Add decomposed relative positions to the attention of every block."""
    square: Annotated[int, Field(ge=32, multiple_of=32)] | None = 1024
    """Pad every image to a square of this side in pixels; null pads to a multiple of 32."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: Norm = "ln"
    """Normalisation in the pyramid; LN is over the channels of each position."""
    decay_exceptions: bool = True
    """Keep layer norms and positions of the ViT out of weight decay; the released Huge does not."""
    checkpoint_activations: bool = False
    """Recompute the blocks in the backward pass: less memory, about a third more time."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        found = unfit_heads(self.width, self.heads)
        side = min(self.image_size, self.square or self.image_size) // PATCH
        if self.window > side:
            found.append(
                f"'backbone.window' {self.window} is larger than the grid of {side} x {side} tokens"
                f": use at most {side}"
            )
        found += unfit_blocks("backbone.global_blocks", self.global_blocks, self.depth)
        if found:
            raise ValueError("; ".join(found))
        return self
