"""Options of the plain ViT with a feature pyramid network, in three published forms.

Papers: Li et al. 2021 (arXiv:2111.11429); ViT-Adapter (arXiv:2205.08534), Table 1.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backbones.options.base import BackboneOptions, Norm
from backbones.options.effects import Role
from backbones.options.transformer import unfit_blocks, unfit_heads

Form = Literal["li2021", "vit", "conv"]


class ViTFPNOptions(BackboneOptions):
    """Options of the plain baseline; the defaults are Li et al.'s Base."""

    form: Form = "li2021"
    """Li et al. 2021, ViT-Adapter's "ViT" rows, or its "ViTDet" rows with convolutions."""
    width: Annotated[int, Field(ge=4, multiple_of=4), Role.SIZE] = 768
    """Width of the tokens."""
    depth: Annotated[int, Field(ge=4, multiple_of=4), Role.SIZE] = 12
    """Transformer blocks; the pyramid reads the last one of each quarter."""
    heads: Annotated[int, Field(ge=1)] = 12
    """Attention heads of a block."""
    window: Annotated[int, Field(ge=1)] = 16
    """Side in tokens of the windows in which all but the global blocks attend."""
    global_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Blocks, from 0, that attend over the whole image; null is the last of each quarter."""
    conv_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Form conv: blocks before a residual convolution; null is the last of each quarter."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the last block; earlier ones rise to it linearly."""
    grid: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Side of the stored position table; li2021 pads its images to the square it covers."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: Norm = "bn"
    """Normalisation in the pyramid."""
    decay_exceptions: bool = True
    """Apply the weight-decay exceptions of the form's release; false leaves all to the recipe."""
    checkpoint_activations: bool = False
    """Recompute the blocks in the backward pass: less memory, about a third more time."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        found = unfit_heads(self.width, self.heads)
        if self.form == "li2021" and self.grid % self.window:
            allowed = ", ".join(str(n) for n in range(2, self.grid + 1) if self.grid % n == 0)
            found.append(
                f"'backbone.window' {self.window} does not divide 'backbone.grid' {self.grid}, as "
                f"the form li2021 needs: use one of {allowed}"
            )
        if self.form != "conv" and self.conv_blocks is not None:
            found.append(
                f"'backbone.conv_blocks' does not apply to the form {self.form}: omit it, or set "
                "'backbone.form' to conv"
            )
        found += unfit_blocks("backbone.global_blocks", self.global_blocks, self.depth)
        found += unfit_blocks("backbone.conv_blocks", self.conv_blocks, self.depth)
        if found:
            raise ValueError("; ".join(found))
        return self
