"""MIMDet: a MAE-pre-trained ViT that sees a random share of the tokens, and a hybrid pyramid.

Paper: Fang et al., "Unleashing Vanilla Vision Transformer with Masked Image Modeling for Object
Detection", ICCV 2023 (arXiv:2204.02964), section 3 and figure 2.

Shapes, for B images of H x W pixels, N = H/16 * W/16 tokens of width D, K of them kept:
    stem     (B, D/4, H/4, W/4), (B, D/2, H/8, W/8), tokens (B, D, H/16, W/16)
    encoder  (B, K, D) in the order of sampling
    decoder  (B, N, E) in raster order, E the decoder's width
    p2..p5   (B, C, H/s, W/s) with s = 4, 8, 16, 32

Differs from upstream (github.com/hustvl/MIMDet, fb0aaa1): the whole input is not permuted when
every token is kept, which changes nothing but the order of sums; and the projection of the stem's
features is computed for the unsampled tokens alone, the only ones it fills.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from backbones.contract import Backbone, BackboneOptions, Level, Padding, ParameterRule
from backbones.key_maps.mae import mae_to_mimdet
from backbones.key_maps.mimdet_release import release_to_mimdet
from backbones.key_maps.rename import KeyMap
from backbones.layers.conv_stem import ConvStem
from backbones.layers.fpn import FPN
from backbones.layers.pos_embed import resize_table, sine_cosine_table
from backbones.layers.sampling import (
    Order,
    kept_count,
    put_back,
    random_order,
    take,
    valid_tokens,
)

PATCH = 16


class MIMDetOptions(BackboneOptions):
    """Options of the MIMDet backbone; the defaults are the released Base."""

    width: Annotated[int, Field(ge=16, multiple_of=16)] = 768
    """Width of the encoder's tokens; the stem is an eighth to the whole of it."""
    depth: Annotated[int, Field(ge=1)] = 12
    """Encoder blocks."""
    heads: Annotated[int, Field(ge=1)] = 12
    """Attention heads of an encoder block."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth of the last encoder block; earlier ones rise to it linearly."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    """Floor inside the layer norms of encoder and decoder."""
    grid: Annotated[int, Field(ge=1)] = 50
    """Side of the stored position tables; they are resized to each image's grid."""
    decoder_width: Annotated[int, Field(ge=16, multiple_of=4)] = 512
    """Width of the decoder's tokens."""
    decoder_heads: Annotated[int, Field(ge=1)] = 16
    """Attention heads of a decoder block."""
    decoder_layers: Annotated[int, Field(ge=1)] = 4
    """Decoder blocks; the first ones of MAE's eight (Table 7)."""
    train_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the tokens that the encoder sees in training (Table 1)."""
    eval_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the tokens that the encoder sees in evaluation."""
    sampling: Literal["random"] = "random"
    """How the kept tokens are chosen."""
    fill: Literal["stem", "mask"] = "stem"
    """What stands in for unsampled tokens: projected stem features or one learned vector."""
    p5: Literal["max", "mean"] = "max"
    """How stride 32 is made from stride 16: the released code's max, or the paper's mean."""
    stem: Literal["naive"] = "naive"
    """Convolutional stem; naive is the paper's default of four plain stages."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Width of the pyramid."""
    norm: Literal["BN", "SyncBN", "LN", "GN", "none"] = "BN"
    """Normalisation in the pyramid."""
    checkpoint_activations: bool = False
    """Recompute the blocks in the backward pass: less memory, about a third more time."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for width, heads in ((self.width, self.heads), (self.decoder_width, self.decoder_heads)):
            if width % heads:
                raise ValueError(f"a width of {width} does not divide by {heads} attention heads")
        return self


def blocks(width: int, heads: int, rates: list[float], eps: float) -> nn.ModuleList:
    """Pre-norm transformer blocks, one per stochastic-depth rate."""
    norm: Any = partial(nn.LayerNorm, eps=eps)  # timm asks for a class, takes any callable
    return nn.ModuleList(
        Block(width, heads, qkv_bias=True, drop_path=rate, norm_layer=norm) for rate in rates
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
        last = max(1, options.depth - 1)
        rates = [options.drop_path * i / last for i in range(options.depth)]
        self.pos_embed = position_table(options.width, options.grid)
        self.blocks = blocks(options.width, options.heads, rates, options.norm_eps)
        self.norm = nn.LayerNorm(options.width, eps=options.norm_eps)
        self.checkpoint_activations = options.checkpoint_activations
        self.apply(initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encoded tokens, (B, K, D) in and out."""
        return self.norm(run(self.blocks, tokens, self.checkpoint_activations))


class Decoder(nn.Module):
    """MAE's decoder blocks over all tokens, kept and filled."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        width = options.decoder_width
        self.pos_embed = position_table(width, options.grid)
        self.embed = nn.Linear(options.width, width)
        self.blocks = blocks(
            width, options.decoder_heads, [0.0] * options.decoder_layers, options.norm_eps
        )
        self.norm = nn.LayerNorm(width, eps=options.norm_eps)
        self.checkpoint_activations = options.checkpoint_activations
        if options.fill == "stem":
            self.stem_proj = nn.Linear(options.width, width)
        else:
            self.mask_token = nn.Parameter(torch.empty(1, 1, width))
            nn.init.normal_(self.mask_token, std=0.02)
        self.apply(initialise)

    def forward(self, filled: Tensor, positions: Tensor) -> Tensor:
        """Decoded tokens, (B, N, E) in and out; `positions` is (1, N, E)."""
        tokens = run(self.blocks, filled + positions, self.checkpoint_activations)
        return self.norm(tokens)

    def fill(self, stem_tokens: Tensor) -> Tensor:
        """Stand-ins for unsampled tokens whose stem features are (B, M, D): (B, M, E)."""
        if hasattr(self, "stem_proj"):
            return self.stem_proj(stem_tokens)
        return self.mask_token.expand(*stem_tokens.shape[:2], -1)


def run(layers: nn.ModuleList, tokens: Tensor, recompute: bool) -> Tensor:
    """Tokens through all layers, with or without keeping activations for the backward pass."""
    for layer in layers:
        if recompute and torch.is_grad_enabled():
            tokens = checkpoint(layer, tokens, use_reentrant=False)
        else:
            tokens = layer(tokens)
    return tokens


class MIMDet(Backbone):
    """Convolutional stem, sampled encoder, decoder, and a pyramid over stem and decoder maps."""

    Options = MIMDetOptions
    parameter_rules: ClassVar[tuple[ParameterRule, ...]] = (
        ParameterRule(r"stem\..*", rate="plain"),
        ParameterRule(r"encoder\..*", rate="pretrained"),
    )
    padding = Padding(multiple=32)

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        self.options = options
        self.stem = ConvStem(options.width)
        self.encoder = Encoder(options)
        self.decoder = Decoder(options)
        self.fpn = FPN(
            [*self.stem.channels, options.decoder_width, options.decoder_width],
            options.channels,
            options.norm,
        )
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.order: Order = random_order

    @classmethod
    def from_options(cls, options: BackboneOptions) -> Self:
        """The backbone that `options` describes."""
        assert isinstance(options, MIMDetOptions)
        return cls(options)

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        stem_filled = self.options.fill == "stem"
        return {
            "mae": mae_to_mimdet(self.options.decoder_layers, stem_filled),
            "mimdet_release": release_to_mimdet(),
        }

    @property
    def depth(self) -> int:
        """Encoder blocks and one: the depth of decoder and pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for stem and positions, i + 1 for encoder block i, `depth` for the rest."""
        if name.startswith(("stem.", "encoder.pos_embed")):
            return 0
        if name.startswith("encoder.blocks."):
            return int(name.split(".")[2]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W) with sides that divide by 32."""
        stride4, stride8, token_map = self.stem(images)
        h, w = token_map.shape[-2:]
        tokens = token_map.flatten(2).transpose(1, 2)  # (B, D, h, w) -> (B, N, D)
        positions = resize_table(self.encoder.pos_embed, h, w)  # (1, N, D)
        ratio = self.options.train_ratio if self.training else self.options.eval_ratio
        keep = kept_count(h * w, ratio)
        if keep == h * w:
            filled = self.decoder.embed(self.encoder(tokens + positions))  # (B, N, E)
        else:
            order = self.order(valid_tokens(sizes, h, w, PATCH))  # (B, N)
            filled = self.encode_sampled(tokens, positions, order, keep)
        decoded = self.decoder(filled, resize_table(self.decoder.pos_embed, h, w))
        stride16 = decoded.transpose(1, 2).unflatten(2, (h, w))  # (B, N, E) -> (B, E, h, w)
        pool = F.max_pool2d if self.options.p5 == "max" else F.avg_pool2d
        maps = self.fpn([stride4, stride8, stride16, pool(stride16, 2)])
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    def encode_sampled(self, tokens: Tensor, positions: Tensor, order: Tensor, keep: int) -> Tensor:
        """Encode the first `keep` tokens of `order`, fill the others: (B, N, E) in raster order."""
        kept, dropped = order[:, :keep], order[:, keep:]
        encoded = self.encoder(take(tokens, kept) + take(positions, kept))  # (B, K, D)
        embedded = self.decoder.embed(encoded)  # (B, K, D) -> (B, K, E)
        fill = self.decoder.fill(take(tokens, dropped))  # (B, N - K, E)
        return put_back(torch.cat([embedded, fill.to(embedded.dtype)], dim=1), order)
