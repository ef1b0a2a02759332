"""Options of ViT-Adapter (Chen et al., ICLR 2023, arXiv:2205.08534); the tables are its own."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backbones.options.base import NORM_NAME, BackboneOptions, Norm
from backbones.options.effects import Role
from backbones.options.transformer import unfit_blocks, unfit_heads

EncoderName = Literal["vit", "beit", "uni_perceiver"]
AttentionName = Literal["deformable", "global", "cswin", "pale"]
Part = Literal["spm", "injector", "extractor"]
"""The adapter up to this part (Table 6)."""
NeckName = Literal["fpn", "conv"]
BatchNorm = Annotated[Literal["bn", "syncbn"], NORM_NAME]


class ViTAdapterOptions(BackboneOptions):
    """Options of the ViT-Adapter backbone; the defaults are the released Small."""

    encoder: EncoderName = "vit"
    """Transformer: plain, BEiT's (relative biases) or Uni-Perceiver's (norms after the sums)."""
    width: Annotated[int, Field(ge=4, multiple_of=4), Role.SIZE] = 384
    """Width of the tokens, and of all features of the adapter."""
    depth: Annotated[int, Field(ge=4), Role.SIZE] = 12
    """Transformer blocks."""
    heads: Annotated[int, Field(ge=1)] = 6
    """Attention heads of a block."""
    window: Annotated[int, Field(ge=1)] = 14
    """Side in tokens of the windows in which all but the global blocks attend."""
    global_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Blocks, from 0, that attend over the whole image; null is the last of each quarter."""
    global_window: Annotated[int, Field(ge=1)] | None = None
    """Side in tokens of windows for the global blocks; null: they attend to the whole image."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Stochastic depth of the last block, to which earlier ones rise, and of every extractor."""
    layer_scale: Annotated[float, Field(gt=0)] | None = 1.0
    """Initial LayerScale of both residual paths of a block; null disables it."""
    grid: Annotated[int, Field(ge=1)] = 14
    """Side of the table of absolute positions, if any; it is resized to each image's grid."""
    conv_width: Annotated[int, Field(ge=1)] = 64
    """Width of the spatial prior module's stem."""
    parts: Part = "extractor"
    """Parts of the adapter: spatial prior only, with injectors, or all (Table 6)."""
    interactions: Annotated[int, Field(ge=0)] = 4
    """Groups of blocks that interact with the adapter; 0 is the plain ViT baseline (Table 6)."""
    interaction_ends: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Last block, from 0, of each interaction; null divides the blocks equally."""
    extra_extractors: Annotated[int, Field(ge=0)] = 2
    """Extractors that follow the last interaction's own."""
    attention: AttentionName = "deformable"
    """Cross-attention of injectors and extractors (Table 7)."""
    deform_heads: Annotated[int, Field(ge=1)] = 6
    """Heads of that attention, of any kind."""
    deform_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Inner width of that attention, as a share of the tokens' width."""
    points: Annotated[int, Field(ge=1)] = 4
    """Points per head and scale of deformable attention; the other kinds have none."""
    cffn_ratio: Annotated[float, Field(ge=0)] = 0.25
    """Hidden width of an extractor's feed-forward, as a share of the width; 0 omits it."""
    add_vit_feature: bool = True
    """Add the ViT's last tokens, resized, to all four maps."""
    neck: NeckName = "fpn"
    """From the four maps to the pyramid: an FPN, or a 1x1 convolution and ReLU on each."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: BatchNorm = "bn"
    """Normalisation in the spatial prior module and of the four maps."""
    fpn_norm: Norm = "none"
    """Normalisation in the FPN."""
    decay_exceptions: bool = True
    """Apply the weight-decay exceptions of Tiny, Small and Base; false leaves all to the recipe."""
    checkpoint_activations: bool = False
    """Recompute blocks and adapter in the backward pass: less memory, about a third more time."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        found = unfit_heads(self.width, self.heads)
        if self.inner % self.deform_heads:
            found.append(
                f"{self.inner}, which is 'backbone.width' times 'backbone.deform_ratio', is not "
                f"divisible by 'backbone.deform_heads' {self.deform_heads}"
            )
        if self.attention in ("cswin", "pale") and self.deform_heads % 2:
            found.append(
                f"'backbone.attention' {self.attention} halves its heads: 'backbone.deform_heads' "
                f"{self.deform_heads} is odd"
            )
        if self.encoder == "beit" and self.global_window is None:
            found.append(
                "'backbone.encoder' beit needs windows everywhere: set "
                "'backbone.global_window' (56 in the paper)"
            )
        if self.neck == "conv" and self.fpn_norm != "none":
            found.append("'backbone.neck' conv has no norm: set 'backbone.fpn_norm' to none")
        found += unfit_blocks("backbone.global_blocks", self.global_blocks, self.depth)
        found += unfit_groups(self.depth, self.interactions, self.interaction_ends)
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def inner(self) -> int:
        """Width of what the cross-attention reads."""
        return round(self.width * self.deform_ratio)

    @property
    def groups(self) -> list[range]:
        """Blocks of each interaction; without interactions, one group of all blocks."""
        return block_groups(self.depth, self.interactions, self.interaction_ends)


def block_groups(depth: int, count: int, ends: Sequence[int] | None) -> list[range]:
    """Blocks of each of `count` interactions, up to `ends` or equally many; one group for none."""
    if ends is not None:
        return [range(before + 1, end + 1) for before, end in pairwise([-1, *ends])]
    size = depth // max(1, count)
    return [range(start, start + size) for start in range(0, depth, size)]


def unfit_groups(depth: int, count: int, ends: Sequence[int] | None) -> list[str]:
    """What is wrong with the options that `block_groups` takes."""
    if ends is None:
        if count == 0 or depth % count == 0:
            return []
        allowed = ", ".join(str(n) for n in range(1, depth + 1) if depth % n == 0)
        return [
            f"'backbone.interactions' {count} does not divide the depth {depth}: "
            f"use one of 0, {allowed}"
        ]
    if len(ends) != count:
        return [
            f"'backbone.interaction_ends' lists {len(ends)} blocks for {count} "
            "'backbone.interactions': make them as many"
        ]
    if list(ends) != sorted(set(ends)) or not ends or ends[-1] != depth - 1:
        return [f"'backbone.interaction_ends' must rise, and end with the last block, {depth - 1}"]
    return []
