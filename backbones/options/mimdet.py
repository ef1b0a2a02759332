"""Options of MIMDet: sizes, what the encoder sees, and the parts that its ablations change.

Paper: Fang et al., ICCV 2023 (arXiv:2204.02964); the tables named below are its own.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backbones.options.base import BackboneOptions, Norm, TokenSampling
from backbones.options.effects import Effect, Role

GRID_RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tokens that a regular pattern keeps; `mimdet.sampling` has them."""
PATTERNS = ("grid",)
"""Ways of sampling by a regular pattern, which have these shares alone."""
STOCHASTIC = ("random",)
"""Ways of sampling that choose other tokens every time."""


class MIMDetOptions(BackboneOptions):
    """Options of the MIMDet backbone; the defaults are the released Base."""

    width: Annotated[int, Field(ge=16, multiple_of=16), Role.SIZE] = 768
    """Width of the encoder's tokens; the stem's stages are an eighth of it and wider."""
    depth: Annotated[int, Field(ge=1), Role.SIZE] = 12
    """Encoder blocks."""
    heads: Annotated[int, Field(ge=1)] = 12
    """Attention heads of an encoder block."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the last encoder block; earlier ones rise to it linearly."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    """Epsilon of the layer norms in encoder and decoder."""
    grid: Annotated[int, Field(ge=1)] = 50
    """Side of the stored position tables; they are resized to each image's grid."""
    decoder_width: Annotated[int, Field(ge=16, multiple_of=4)] = 512
    """Width of the decoder's tokens."""
    decoder_heads: Annotated[int, Field(ge=1)] = 16
    """Attention heads of a decoder block."""
    decoder_layers: Annotated[int, Field(ge=0)] = 4
    """Decoder blocks, the first of MAE's eight (Table 7); 0 removes the decoder."""
    train_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the tokens that the encoder sees in training (Table 1)."""
    eval_ratio: Annotated[float, Field(gt=0, le=1), Effect.EVALUATION] = 1.0
    """Share of the tokens that the encoder sees in evaluation."""
    sampling: Literal["random", "grid"] = "random"
    """How the kept tokens are chosen: at random per image, or by a regular pattern (Table 3)."""
    input: Literal["sampled", "windows"] = "sampled"
    """What an encoder block attends to: the sampled tokens, or all of them window by window."""
    window: Annotated[int, Field(ge=1)] = 7
    """Side in tokens of the windows of `input: windows` (Table 8)."""
    fill: Literal["stem", "mask"] = "stem"
    """What replaces dropped tokens: projected stem features or one learned vector."""
    p5: Literal["max", "mean"] = "max"
    """How stride 32 is made from stride 16: the released code's max, or the paper's mean."""
    stem: Literal["naive", "convnext"] = "naive"
    """Convolutional stem: four plain stages, or ConvNeXt's first two (Table 5)."""
    pyramid: Literal["hybrid", "vit"] = "hybrid"
    """Where strides 4 and 8 come from: the stem, or maps from within the encoder (Table 8)."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: Norm = "bn"
    """Normalisation in the pyramid."""
    checkpoint_activations: bool = False
    """Recompute the blocks in the backward pass: less memory, about a third more time."""

    @property
    def token_sampling(self) -> TokenSampling:
        """Both shares; whether every evaluation samples new tokens depends on `sampling`."""
        stochastic = self.eval_ratio < 1 and self.sampling in STOCHASTIC
        return TokenSampling(self.train_ratio, self.eval_ratio, stochastic)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        found = [*unfit_widths(self), *unfit_ratios(self)]
        if self.pyramid == "vit" and self.depth % 4:
            found.append(
                f"'backbone.pyramid' vit takes the encoder's maps by quarters: 'backbone.depth' "
                f"{self.depth} must be a multiple of 4"
            )
        if self.input == "windows" and self.window > self.grid:
            found.append(
                f"'backbone.window' {self.window} is larger than the grid of {self.grid} x "
                f"{self.grid} tokens ('backbone.grid'): use at most {self.grid}"
            )
        if found:
            raise ValueError("; ".join(found))
        return self


def unfit_widths(options: MIMDetOptions) -> list[str]:
    """What is wrong with the numbers of attention heads."""
    used = [(options.width, options.heads)]
    if options.decoder_layers:
        used.append((options.decoder_width, options.decoder_heads))
    return [
        f"a width of {width} is not divisible by {heads} attention heads"
        for width, heads in used
        if width % heads
    ]


def unfit_ratios(options: MIMDetOptions) -> list[str]:
    """What is wrong with the shares of tokens, in training or in evaluation."""
    ratios = {name: getattr(options, name) for name in ("train_ratio", "eval_ratio")}
    needs_all = {
        "'backbone.decoder_layers' 0": options.decoder_layers == 0,
        "'backbone.input' windows": options.input == "windows",
        "'backbone.pyramid' vit": options.pyramid == "vit",
    }
    whole = [what for what, holds in needs_all.items() if holds]
    partial = [f"'backbone.{name}' {ratio:g}" for name, ratio in ratios.items() if ratio < 1]
    if whole and partial:
        verb = "needs" if len(whole) == 1 else "need"
        return [
            f"{' and '.join(whole)} {verb} every token: set 'backbone.train_ratio' and "
            f"'backbone.eval_ratio' to 1, not {' and '.join(partial)}"
        ]
    if options.sampling not in PATTERNS:
        return []
    allowed = ", ".join(f"{ratio:g}" for ratio in GRID_RATIOS)
    return [
        f"'backbone.{name}' {ratio:g} has no regular pattern: with 'backbone.sampling' "
        f"{options.sampling} use one of {allowed}"
        for name, ratio in ratios.items()
        if ratio not in GRID_RATIOS
    ]
