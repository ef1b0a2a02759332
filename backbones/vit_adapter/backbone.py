"""ViT-Adapter: a plain ViT beside a convolutional branch, joined by cross-attention.

Paper: Chen et al., "Vision Transformer Adapter for Dense Predictions", ICLR 2023
(arXiv:2205.08534), section 3 and figure 4; github.com/czczup/ViT-Adapter, fd64a51, `detection`.

Shapes, for B images of H x W pixels and a ViT of width D:
    grid     (B, H/16, W/16, D), the ViT's tokens
    spatial  (B, N, D), cells of strides 8, 16 and 32, N = 21 * H/32 * W/32
    maps     (B, D, H/s, W/s) with s = 4, 8, 16, 32, what the paper calls F1 to F4
    p2..p5   (B, C, H/s, W/s)

Differs from upstream: sides not divisible by 32 are padded with zeros and the maps cropped,
where upstream fails; blocks that belong to no interaction are refused, where upstream skips
them; without weights the ViT starts from narrow normal values; recomputing covers the adapter too.
Two rows of table 6 (`parts`) and three of table 7 (`attention`) exist in the paper only.
BEiT's and Uni-Perceiver's weights need their own transformer (`encoder`). BEiT's (appendix A.1) has
windows of 56 in the global blocks and LayerScale from 1e-6, as have upstream's injectors then; ours
start at 0. Stochastic depth rises over the blocks in Uni-Perceiver's too, upstream it is constant.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.mae import from_hub, mae_encoder
from backbones.key_maps.mmdet_detectors import release_to_vit_adapter
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.timm_classifiers import timm_beit, timm_vit
from backbones.key_maps.uni_perceiver import uni_perceiver
from backbones.layers.block import apply_block, drop_rates
from backbones.layers.patch_embed import PatchEmbed
from backbones.layers.pos_embed import resize_table
from backbones.options.transformer import (
    TINY_GRID,
    TINY_PYRAMID,
    TINY_VIT,
    chosen_blocks,
    depth_for,
    quarter_ends,
)
from backbones.options.vit_adapter import ViTAdapterOptions
from backbones.vit_adapter.encoder import InputNorm, encoder_blocks
from backbones.vit_adapter.interaction import (
    AdapterSettings,
    Interaction,
    Spatial,
    grid_of,
    make_interactions,
    resized,
    to_maps,
)
from backbones.vit_adapter.pyramid import DeconvPyramid, make_neck
from backbones.vit_adapter.spatial_prior import SpatialPrior, batch_norm, initialise_conv

COARSEST = 32
LEVELS = 3
"""Maps that take part in the interactions: strides 8, 16 and 32."""


def blocks(options: ViTAdapterOptions) -> nn.ModuleList:
    """The transformer's blocks, in windows except the global ones."""
    whole = chosen_blocks(options.global_blocks, options.depth)
    wide, narrow = options.global_window, options.window
    windows = [wide if i in whole else narrow for i in range(options.depth)]
    rates = drop_rates(options.drop_path, options.depth)
    sizes = (options.width, options.heads, windows, rates)
    return encoder_blocks(options.encoder, *sizes, options.layer_scale)


def interactions(options: ViTAdapterOptions) -> nn.ModuleList:
    """The interactions around each group of blocks."""
    settings = AdapterSettings(
        width=options.width,
        inner=options.inner,
        heads=options.deform_heads,
        points=options.points,
        attention=options.attention,
        hidden=round(options.width * options.cffn_ratio),
        drop_path=options.drop_path,
        recompute=options.checkpoint_activations,
    )
    return make_interactions(
        settings, options.parts, options.interactions, options.extra_extractors
    )


class ViTAdapter(Backbone):
    """Plain ViT, spatial prior module, injectors and extractors, and a pyramid over four maps."""

    Options = ViTAdapterOptions
    options: ViTAdapterOptions
    padding = Padding(multiple=COARSEST)

    def __init__(self, options: ViTAdapterOptions) -> None:
        super().__init__(options)
        width = options.width
        self.patch_embed = PatchEmbed(width)
        if options.encoder != "beit":
            self.pos_embed = nn.Parameter(torch.empty(1, 1 + options.grid**2, width))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.input_norm = InputNorm(width) if options.encoder == "uni_perceiver" else None
        self.blocks = blocks(options)
        self.interactions = interactions(options)
        adapted = options.interactions > 0
        self.spm = SpatialPrior(width, options.conv_width, options.norm) if adapted else None
        if adapted and options.parts != "spm":
            self.level_embed = nn.Parameter(torch.randn(LEVELS, width))
        if adapted and options.parts == "extractor":
            self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
            self.norms = nn.ModuleList(batch_norm(options.norm, width) for _ in range(4))
            initialise_conv(self.up)
        else:
            self.pyramid = DeconvPyramid(width).apply(initialise_conv)
        self.neck = make_neck(options.neck, width, options.channels, options.fpn_norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT and half an adapter's stem, with the same parts and interactions."""
        chosen = ViTAdapterOptions.model_validate(options)
        smaller = {"depth": depth_for(chosen.interactions), "conv_width": 32, "deform_heads": 4}
        ends = {"global_blocks": None, "interaction_ends": None}
        window = None if chosen.global_window is None else TINY_GRID
        norm = "none" if chosen.neck == "conv" else TINY_PYRAMID["norm"]
        return {
            **TINY_VIT,
            **TINY_PYRAMID,
            **smaller,
            **ends,
            "global_window": window,
            "fpn_norm": norm,
        }

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The ViT is pre-trained; what is not decayed, by the names of the release.

        Embeddings, biases and norms are exempt, but not LayerScale, nor the batch norms of the
        spatial prior module, whose names upstream's rule misses. Its Large has other rules, which
        are `optimizer.no_decay: one_dim` and `layer_decay`.
        """
        vit = ("pos_embed", "{patch_embed|input_norm|blocks}.{rest}")
        if not self.options.decay_exceptions:
            return (ParameterRule(vit, rate="pretrained"),)
        exempt_vit = (
            "pos_embed",
            "input_norm.{rest}",
            "blocks.{i}.norm{k}.{rest}",
            "{patch_embed|blocks}.{path}.bias",
        )
        exempt = (
            "level_embed",
            "{norms|pyramid.norms}.{rest}",
            "interactions.{path}_norm.{rest}",
            "{path}.bias",
        )
        return (
            ParameterRule(exempt_vit, rate="pretrained", decay=False),
            ParameterRule(exempt, decay=False),
            ParameterRule(vit, rate="pretrained", decay=True),
            ParameterRule("{rest}", decay=True),
        )

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        fresh = ("blocks.{i}.ls{k:1|2}.gamma",)
        if self.options.encoder == "beit":
            return {"timm_beit": timm_beit()}
        if self.options.encoder == "uni_perceiver":
            return {"uni_perceiver": uni_perceiver(fresh)}
        encoder = mae_encoder(fresh)
        return {
            "timm_vit": timm_vit(fresh),
            "mae_encoder": encoder,
            "hf_mae": from_hub(encoder),
            "vit_adapter_release": release_to_vit_adapter(),
        }

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the adapter and the pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for patches and positions, i + 1 for block i, `depth` for the rest."""
        if name.startswith(("patch_embed.", "pos_embed", "input_norm.")):
            return 0
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps of `images` (B, 3, H, W) of any size."""
        maps = self.neck(self.features(images))
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps of width D that the pyramid is made of, stride 4 first."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % COARSEST, 0, -height % COARSEST))
        maps = self.adapt(images)
        return [
            x[..., : -(-height // level.stride), : -(-width // level.stride)]
            for x, level in zip(maps, self.levels, strict=True)
        ]

    def adapt(self, images: Tensor) -> list[Tensor]:
        """The four maps of images with sides divisible by 32."""
        tokens = self.embed(images)
        outputs: list[Tensor] = []
        if self.spm is None:
            self.run(range(self.options.depth), tokens, outputs)
            return self.quarters(outputs)
        spatial = self.look(self.spm, images)
        for interaction, group in zip(self.interactions, self.options.groups, strict=True):
            assert isinstance(interaction, Interaction)
            tokens = interaction.inject(tokens, spatial)
            tokens = self.run(group, tokens, outputs)
            spatial = interaction.extract(spatial, tokens)
        if self.options.parts == "extractor":
            return self.merge(spatial, tokens)
        first, *others = self.quarters(outputs)
        return [first + spatial.finest, *others]

    def embed(self, images: Tensor) -> Tensor:
        """Patches with their absolute positions, if any."""
        tokens = self.patch_embed(images)  # (B, 3, H, W) -> (B, h, w, D)
        if self.options.encoder == "beit":
            return tokens
        tokens = tokens + resize_table(self.pos_embed, *tokens.shape[1:3]).view_as(tokens[:1])
        return tokens if self.input_norm is None else self.input_norm(tokens)

    def look(self, spm: SpatialPrior, images: Tensor) -> Spatial:
        """Spatial features, with the embedding of their level where attention mixes levels."""
        finest, *maps = spm(images)
        cells = [x.flatten(2).transpose(1, 2) for x in maps]  # (B, D, h, w) -> (B, h * w, D)
        if self.options.parts != "spm":
            cells = [x + level for x, level in zip(cells, self.level_embed, strict=True)]
        return Spatial(finest, torch.cat(cells, dim=1), [grid_of(x) for x in maps])

    def run(self, group: range, tokens: Tensor, outputs: list[Tensor]) -> Tensor:
        """Tokens through the blocks of `group`; each one's output joins `outputs`."""
        recompute = self.options.checkpoint_activations
        for i in group:
            tokens = apply_block(self.blocks[i], tokens, recompute=recompute)
            outputs.append(tokens)
        return tokens

    def quarters(self, outputs: list[Tensor]) -> list[Tensor]:
        """The baseline's four maps, from the last block of each quarter."""
        ends = [outputs[end] for end in quarter_ends(self.options.depth)]
        grid = (ends[0].shape[1], ends[0].shape[2])
        return self.pyramid([x.flatten(1, 2) for x in ends], grid)

    def merge(self, spatial: Spatial, tokens: Tensor) -> list[Tensor]:
        """The adapter's four maps, from what the extractors made."""
        stride8, stride16, stride32 = to_maps(spatial.cells, spatial.grids)
        maps = [self.up(stride8) + spatial.finest, stride8, stride16, stride32]
        if self.options.add_vit_feature:
            last = tokens.permute(0, 3, 1, 2)  # (B, h, w, D) -> (B, D, h, w)
            maps = [x + resized(last, grid_of(x)) for x in maps]
        return [norm(x) for norm, x in zip(self.norms, maps, strict=True)]
