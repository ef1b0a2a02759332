"""MIMDet: a MAE-pre-trained ViT that sees a random share of the tokens, and a hybrid pyramid.

Paper: Fang et al., "Unleashing Vanilla Vision Transformer with Masked Image Modeling for Object
Detection", ICCV 2023 (arXiv:2204.02964), section 3 and figure 2. The options of its ablations:
tables 1 and 3 (ratios, sampling), 5 (stem), 6 (fill), 7 (decoder layers), 8 (input, pyramid).

Shapes, for B images of H x W pixels, N = H/16 * W/16 tokens of width D, K of them kept:
    stem     (B, D/4, H/4, W/4), (B, D/2, H/8, W/8), tokens (B, D, H/16, W/16)
    encoder  (B, K, D) in the order of sampling
    decoder  (B, N, E) in raster order, E the decoder's width
    p2..p5   (B, C, H/s, W/s) with s = 4, 8, 16, 32
Without a decoder E is D, and the encoder's output goes to p4 and p5 in its place.

Differs from upstream (github.com/hustvl/MIMDet, fb0aaa1): the whole input is not permuted when
every token is kept, which changes nothing but the order of sums; and the projection of the stem's
features is computed for the unsampled tokens alone, the only ones it fills. Grid sampling, the
ConvNeXt stem, windows and the pyramid of the ViT's own maps are in the paper, not in that code.
The last row of table 8 says neither which maps it takes nor how they grow; here they are those of
Li et al. 2021, the first quarter's for stride 4 and the second's for stride 8, by deconvolutions of
width D: 120,734,800 parameters (paper: 120 M), where the row before has 113,407,312 (113 M).
"""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.detectron2_detectors import release_to_mimdet
from backbones.key_maps.mae import from_hub, mae_encoder_to_mimdet, mae_to_mimdet
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.timm_classifiers import convnext_to_stem
from backbones.layers.block import apply_block, drop_rates
from backbones.layers.conv_stem import ConvStem
from backbones.layers.convnext_stem import ConvNeXtStem
from backbones.layers.fpn import FPN
from backbones.layers.mae_blocks import blocks, initialise, position_table, window_blocks
from backbones.layers.pos_embed import resize_table
from backbones.layers.raised_maps import RaisedMaps
from backbones.layers.sampling import SAMPLERS, TokenGrid, put_back, take, valid_tokens
from backbones.options.mimdet import MIMDetOptions
from backbones.options.transformer import PATCH, quarter_ends
from backbones.tiny import PYRAMID, VIT

STEMS: dict[str, type[ConvStem | ConvNeXtStem]] = {"naive": ConvStem, "convnext": ConvNeXtStem}


class Encoder(nn.Module):
    """Plain ViT blocks over the kept tokens, or over the whole grid in windows."""

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__()
        rates = drop_rates(options.drop_path, options.depth)
        self.pos_embed = position_table(options.width, options.grid)
        sizes = (options.width, options.heads, rates, options.norm_eps)
        windows = options.input == "windows"
        self.blocks = window_blocks(*sizes, options.window) if windows else blocks(*sizes)
        self.norm = nn.LayerNorm(options.width, eps=options.norm_eps)
        self.checkpoint_activations = options.checkpoint_activations
        self.apply(initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encoded tokens, (B, K, D) in and out; with windows (B, h, w, D)."""
        return self.outputs(tokens)[-1]

    def outputs(self, tokens: Tensor, after: Collection[int] = ()) -> list[Tensor]:
        """What the blocks `after` give, in their order, and last the encoded tokens."""
        found = []
        for i, block in enumerate(self.blocks):
            tokens = apply_block(block, tokens, recompute=self.checkpoint_activations)
            if i in after:
                found.append(tokens)
        return [*found, self.norm(tokens)]


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
        tokens = filled + positions
        for block in self.blocks:
            tokens = apply_block(block, tokens, recompute=self.checkpoint_activations)
        return self.norm(tokens)

    def fill(self, stem_tokens: Tensor) -> Tensor:
        """Stand-ins for unsampled tokens whose stem features are (B, M, D): (B, M, E)."""
        if hasattr(self, "stem_proj"):
            return self.stem_proj(stem_tokens)
        return self.mask_token.expand(*stem_tokens.shape[:2], -1)


def to_grid(tokens: Tensor, h: int, w: int) -> Tensor:
    """Tokens (B, N, E) in raster order as a map (B, E, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, h, w)


class MIMDet(Backbone):
    """Convolutional stem, sampled encoder, decoder, and a pyramid over stem and decoder maps."""

    Options = MIMDetOptions
    options: MIMDetOptions
    padding = Padding(multiple=32)

    def __init__(self, options: MIMDetOptions) -> None:
        super().__init__(options)
        self.stem = STEMS[options.stem](options.width)
        self.encoder = Encoder(options)
        self.decoder = Decoder(options) if options.decoder_layers else None
        self.raised = RaisedMaps(options.width) if options.pyramid == "vit" else None
        fine = (options.width, options.width) if self.raised else self.stem.channels
        coarse = options.decoder_width if self.decoder else options.width
        self.fpn = FPN([*fine, coarse, coarse], options.channels, options.norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.sampler = SAMPLERS[options.sampling]

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT, with a decoder as wide."""
        return {**VIT, **PYRAMID, "decoder_width": VIT["width"], "decoder_heads": VIT["heads"]}

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The stem learns at the plain rate, the encoder as pre-trained, the rest as task."""
        return (
            ParameterRule("stem.{rest}", rate="plain"),
            ParameterRule("encoder.{rest}", rate="pretrained"),
        )

    def is_pretrained(self, name: str) -> bool:
        """Encoder and decoder, whichever rate they learn at; of the stems, only ConvNeXt's."""
        stem = ("stem.",) if self.options.stem == "convnext" else ()
        return name.startswith(("encoder.", "decoder.", *stem))

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from; those of the encoder leave the decoder random."""
        chosen = self.options
        whole = mae_to_mimdet(chosen.decoder_layers, chosen.fill == "stem")
        encoder = mae_encoder_to_mimdet()
        maps = {
            "mae": whole,
            "hf_mae": from_hub(whole),
            "mae_encoder": encoder,
            "hf_mae_encoder": from_hub(encoder),
        }
        if chosen.stem == "convnext":
            return maps | {"convnext_stem": convnext_to_stem()}
        if self.decoder is None or self.raised is not None:
            return maps  # no detector of that shape was released
        return maps | {"mimdet_release": release_to_mimdet()}

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
        if self.kept(h, w) == h * w:
            *within, encoded = self.encode_all(tokens + positions, h, w)
            filled = encoded if self.decoder is None else self.decoder.embed(encoded)  # (B, N, E)
        else:
            grid = TokenGrid(tokens, valid_tokens(sizes, h, w, PATCH), h, w, self.ratio)
            within, filled = [], self.encode_sampled(grid, positions)
        if self.decoder is not None:
            filled = self.decoder(filled, resize_table(self.decoder.pos_embed, h, w))
        if self.raised is not None:
            stride4, stride8 = self.raised(*(to_grid(x, h, w) for x in within))
        stride16 = to_grid(filled, h, w)
        pool = F.max_pool2d if self.options.p5 == "max" else F.avg_pool2d
        maps = self.fpn([stride4, stride8, stride16, pool(stride16, 2)])
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    @property
    def ratio(self) -> float:
        """Share of the tokens that the encoder sees in the present mode."""
        return self.options.train_ratio if self.training else self.options.eval_ratio

    def kept(self, h: int, w: int) -> int:
        """Tokens of an h x w grid that the encoder sees in the present mode."""
        return h * w if self.ratio == 1 else self.sampler.count(h, w, self.ratio)

    def tokens_seen(self, height: int, width: int) -> tuple[int, int]:
        """Tokens of a canvas of height x width pixels that the encoder sees, and all of them."""
        h, w = height // PATCH, width // PATCH
        return self.kept(h, w), h * w

    def encode_all(self, tokens: Tensor, h: int, w: int) -> list[Tensor]:
        """Encoded tokens (B, N, D), after those of the blocks that the pyramid takes maps from."""
        windows = self.options.input == "windows"
        if windows:
            tokens = tokens.reshape(len(tokens), h, w, -1)  # (B, N, D) -> (B, h, w, D)
        if self.raised is None:
            outputs = [self.encoder(tokens)]
        else:
            outputs = self.encoder.outputs(tokens, quarter_ends(self.options.depth)[:2])
        return [x.flatten(1, 2) for x in outputs] if windows else outputs

    def encode_sampled(self, grid: TokenGrid, positions: Tensor) -> Tensor:
        """Encode the tokens that are kept, and fill the others: (B, N, E) in raster order."""
        assert self.decoder is not None
        tokens, order = grid.features, self.sampler.order(grid)
        keep = self.kept(grid.height, grid.width)
        kept, dropped = order[:, :keep], order[:, keep:]
        encoded = self.encoder(take(tokens, kept) + take(positions, kept))  # (B, K, D)
        embedded = self.decoder.embed(encoded)  # (B, K, D) -> (B, K, E)
        fill = self.decoder.fill(take(tokens, dropped))  # (B, N - K, E)
        return put_back(torch.cat([embedded, fill.to(embedded.dtype)], dim=1), order)
