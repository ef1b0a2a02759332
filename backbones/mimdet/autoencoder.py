"""MAE's encoder over the sampled tokens, and its decoder over all of them.

Papers: He et al., "Masked Autoencoders Are Scalable Vision Learners" (arXiv:2111.06377), section 3
and appendix A.1; MIMDet (arXiv:2204.02964), section 2.1, and of its ablations tables 6 (fill), 7
(decoder layers) and 8 (windows).

The windows are those of Li et al. 2021 (arXiv:2111.11429): no shift, no relative positions, no
parameters. A window that reaches over the grid's edge is padded with zeros after the norm, as in
ViTDet.

Shapes, for B images of h x w tokens, N = h * w, K of them kept:
    encoder  (B, K, D)
    decoder  (B, N, E) in raster order
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import Tensor, nn

from backbones.layers.block import ViTBlock, apply_block, drop_rates
from backbones.layers.pos_embed import resize_table, sine_cosine_table
from backbones.layers.windows import WindowAttention
from backbones.mimdet.sampling import TokenSample
from backbones.options.mimdet import MIMDetOptions
from backbones.options.transformer import quarter_ends


def token_blocks(width: int, heads: int, rates: Sequence[float], eps: float) -> nn.ModuleList:
    """Blocks over any tokens, one per stochastic-depth rate."""
    norm: Any = partial(nn.LayerNorm, eps=eps)  # timm asks for a class, takes any callable
    return nn.ModuleList(
        TimmBlock(width, heads, qkv_bias=True, drop_path=rate, norm_layer=norm) for rate in rates
    )


def position_table(width: int, grid: int) -> nn.Parameter:
    """Frozen sine-cosine positions, stored with the weights as MAE does."""
    return nn.Parameter(sine_cosine_table(width, grid), requires_grad=False)


def initialise(module: nn.Module) -> None:
    """MAE's initial values: Xavier-uniform matrices, zero biases; norms are ones and zeros."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


class Encoder(nn.Module):
    """Plain ViT blocks over the kept tokens."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        self.pos_embed = position_table(options.width, options.grid)
        self.blocks = self.make_blocks(options, drop_rates(options.drop_path, options.depth))
        self.norm = nn.LayerNorm(options.width, eps=options.norm_eps)
        ends = quarter_ends(options.depth)
        self.pyramid_blocks = ends[:2] if options.pyramid == "vit" else []
        self.checkpoint_activations = options.checkpoint_activations

    @staticmethod
    def make_blocks(options: MIMDetOptions, rates: Sequence[float]) -> nn.ModuleList:
        """Blocks that attend to all tokens they are given."""
        return token_blocks(options.width, options.heads, rates, options.norm_eps)

    def positions(self, h: int, w: int) -> Tensor:
        """Positions of an h x w grid, (1, N, D)."""
        return resize_table(self.pos_embed, h, w)

    def forward(self, tokens: Tensor, h: int, w: int) -> list[Tensor]:
        """Tokens after the blocks that the pyramid reads, and last the encoded ones."""
        outputs = []
        for i, block in enumerate(self.blocks):
            tokens = apply_block(block, tokens, recompute=self.checkpoint_activations)
            if i in self.pyramid_blocks:
                outputs.append(tokens)
        return [*outputs, self.norm(tokens)]


class WindowEncoder(Encoder):
    """The same with the same parameters, over all tokens of the grid in windows (table 8)."""

    @staticmethod
    def make_blocks(options: MIMDetOptions, rates: Sequence[float]) -> nn.ModuleList:
        """Blocks that attend within windows."""
        width, heads = options.width, options.heads
        return nn.ModuleList(
            ViTBlock(
                width,
                WindowAttention(width, heads, options.window),
                rate,
                norm_eps=options.norm_eps,
            )
            for rate in rates
        )

    def forward(self, tokens: Tensor, h: int, w: int) -> list[Tensor]:
        """Tokens after the blocks that the pyramid reads, and last the encoded ones."""
        grid = tokens.reshape(len(tokens), h, w, -1)  # (B, N, D) -> (B, h, w, D)
        return [x.flatten(1, 2) for x in super().forward(grid, h, w)]


class Decoder(nn.Module, ABC):
    """From the encoded tokens to tokens of the whole grid, of the width `width`."""

    width: int

    @abstractmethod
    def fill(self, encoded: Tensor, stem_tokens: Tensor, sample: TokenSample) -> Tensor:
        """Encoded tokens (B, K, D) on the whole grid: (B, N, E)."""

    @abstractmethod
    def forward(self, filled: Tensor, h: int, w: int) -> Tensor:
        """Decoded tokens, (B, N, E) in and out."""


class MAEDecoder(Decoder):
    """MAE's decoder blocks over all tokens, kept and filled."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        self.width = options.decoder_width
        rates = [0.0] * options.decoder_layers
        self.pos_embed = position_table(self.width, options.grid)
        self.embed = nn.Linear(options.width, self.width)
        self.blocks = token_blocks(self.width, options.decoder_heads, rates, options.norm_eps)
        self.norm = nn.LayerNorm(self.width, eps=options.norm_eps)
        self.checkpoint_activations = options.checkpoint_activations

    @abstractmethod
    def stand_ins(self, stem_tokens: Tensor) -> Tensor:
        """What fills the cells of dropped tokens, whose stem features are (B, M, D): (B, M, E)."""

    def fill(self, encoded: Tensor, stem_tokens: Tensor, sample: TokenSample) -> Tensor:
        """Kept tokens embedded, stand-ins for the dropped ones if there are any: (B, N, E)."""
        kept, dropped = self.embed(encoded), sample.dropped(stem_tokens)
        return kept if dropped is None else sample.merge(kept, self.stand_ins(dropped))

    def forward(self, filled: Tensor, h: int, w: int) -> Tensor:
        """Decoded tokens, (B, N, E) in and out."""
        tokens = filled + resize_table(self.pos_embed, h, w)
        for block in self.blocks:
            tokens = apply_block(block, tokens, recompute=self.checkpoint_activations)
        return self.norm(tokens)


class StemFillDecoder(MAEDecoder):
    """Dropped tokens are filled with projected stem features (table 6)."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__(options)
        self.stem_proj = nn.Linear(options.width, self.width)

    def stand_ins(self, stem_tokens: Tensor) -> Tensor:
        """The projected stem features, (B, M, D) -> (B, M, E)."""
        return self.stem_proj(stem_tokens)


class MaskFillDecoder(MAEDecoder):
    """Dropped tokens are filled with MAE's learned vector (table 6)."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__(options)
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.width))
        nn.init.normal_(self.mask_token, std=0.02)

    def stand_ins(self, stem_tokens: Tensor) -> Tensor:
        """The vector for every token, (B, M, D) -> (B, M, E)."""
        return self.mask_token.expand(*stem_tokens.shape[:2], -1)


class NoDecoder(Decoder):
    """The encoder's output as it is; all tokens are kept, and E is D (tables 7 and 8)."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        self.width = options.width

    def fill(self, encoded: Tensor, stem_tokens: Tensor, sample: TokenSample) -> Tensor:
        """Encoded tokens, of which none is missing."""
        return encoded

    def forward(self, filled: Tensor, h: int, w: int) -> Tensor:
        """Tokens, (B, N, D) in and out."""
        return filled


ENCODERS: dict[str, type[Encoder]] = {"sampled": Encoder, "windows": WindowEncoder}
"""By the words of `MIMDetOptions.input`."""

DECODERS: dict[str, type[MAEDecoder]] = {"stem": StemFillDecoder, "mask": MaskFillDecoder}
"""By the words of `MIMDetOptions.fill`."""


def make_encoder(options: MIMDetOptions) -> Encoder:
    """The encoder of `options.input`, with MAE's initial values."""
    return ENCODERS[options.input](options).apply(initialise)


def make_decoder(options: MIMDetOptions) -> Decoder:
    """The decoder of `options.fill`, if there is one, with MAE's initial values."""
    if options.decoder_layers == 0:
        return NoDecoder(options)
    return DECODERS[options.fill](options).apply(initialise)
