"""Plain ViT with a feature pyramid network, in the three published forms of this baseline.

Papers: Li et al., "Benchmarking Detection Transfer Learning with Vision Transformers"
(arXiv:2111.11429), section 3, as MIMDet re-implements it (github.com/hustvl/MIMDet, fb0aaa1);
ViT-Adapter (arXiv:2205.08534), Table 1, rows "ViT" and "ViTDet" (github.com/czczup/ViT-Adapter,
fd64a51). The latter row is not detectron2's ViTDet, which is the backbone `vitdet`.

                      li2021                  vit                     conv
    maps from         block of each quarter   block of each quarter   last block, four times
    norm before       none                    LayerNorm per level     LayerNorm per level
    relative biases   two tables, all blocks  none                    none
    LayerScale        none                    from 1                  from 1
    convolutions      none                    none                    residual, after four blocks
    positions         sine-cosine, learned    learned                 learned
    padding           one square              multiple of 32          multiple of 32

Shapes, for B images of H x W pixels and a ViT of width D:
    grid    (B, H/16, W/16, D), the same through all blocks
    scaled  (B, D, H/s, W/s) with s = 4, 8, 16, 32
    p2..p5  (B, C, H/s, W/s)

Differs from upstream: li2021 pads with zeros, not with grey; blocks start from narrow normal
values, where ViT-Adapter leaves PyTorch's. ViT-Adapter ships no configuration of its "ViTDet":
four convolutions, one after each quarter, give the published parameter counts.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.detectron2_detectors import release_to_li2021
from backbones.key_maps.mae import from_hub, mae_encoder
from backbones.key_maps.mmdet_detectors import release_to_baseline
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.timm_classifiers import timm_vit
from backbones.layers.attention import GridAttention
from backbones.layers.block import (
    Block,
    apply_block,
    drop_rates,
    initialise,
)
from backbones.layers.conv_residual import ConvResidual
from backbones.layers.deconv_scales import DeconvScales
from backbones.layers.fpn import FPN
from backbones.layers.patch_embed import PatchEmbed
from backbones.layers.pos_embed import resize_table, sine_cosine_table
from backbones.layers.relative_positions import table_bias
from backbones.options.transformer import PATCH, chosen_blocks, quarter_ends
from backbones.options.vit_fpn import ViTFPNOptions
from backbones.tiny import PYRAMID, VIT


def windows(options: ViTFPNOptions) -> list[int | None]:
    """The side of every block's windows; None for the global ones."""
    whole = chosen_blocks(options.global_blocks, options.depth)
    return [None if i in whole else options.window for i in range(options.depth)]


def blocks(options: ViTFPNOptions) -> nn.ModuleList:
    """The transformer's blocks, in windows but for the global ones."""
    scale = None if options.form == "li2021" else 1.0
    rates = drop_rates(options.drop_path, options.depth)
    built = nn.ModuleList()
    for window, rate in zip(windows(options), rates, strict=True):
        attention = GridAttention(options.width, options.heads, window)
        built.append(Block(options.width, attention, rate, scale))
    return built


def mmdet_values(module: nn.Module) -> None:
    """ViT-Adapter's initial values of convolutions: normal by fan-out; Xavier in the pyramid."""
    if isinstance(module, nn.ConvTranspose2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    elif isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        nn.init.zeros_(module.bias)


class ViTFPN(Backbone):
    """Patch embedding, windowed and global blocks, four scales, feature pyramid network."""

    Options = ViTFPNOptions
    options: ViTFPNOptions

    def __init__(self, options: ViTFPNOptions) -> None:
        super().__init__(options)
        width, form = options.width, options.form
        self.patch_embed = PatchEmbed(width)
        self.blocks = blocks(options).apply(initialise)
        self.scale = DeconvScales(width)
        self.fpn = FPN([width] * 4, options.channels, options.norm)
        if form == "li2021":
            table = sine_cosine_table(width, options.grid)[:, 1:]
            self.pos_embed = nn.Parameter(table.roll(width // 2, dims=2))  # rows before columns
            sides = set(windows(options))
            if options.window in sides:
                self.window_table = self.offset_table(options.window)
            if None in sides:
                self.global_table = self.offset_table(options.grid)
        else:
            self.pos_embed = nn.Parameter(torch.empty(1, 1 + options.grid**2, width))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
            self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(4))
            self.scale.apply(mmdet_values)
            self.fpn.apply(mmdet_values)
        if form == "conv":
            chosen = chosen_blocks(options.conv_blocks, options.depth)
            self.convs = nn.ModuleDict({str(i): ConvResidual(width) for i in sorted(chosen)})
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.padding = Padding(square=PATCH * options.grid if form == "li2021" else None)

    def offset_table(self, side: int) -> nn.Parameter:
        """A relative bias for every offset in a square of `side` tokens and every head."""
        return nn.Parameter(torch.zeros((2 * side - 1) ** 2, self.options.heads))

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT, in the same form."""
        return {**VIT, **PYRAMID, "global_blocks": None, "conv_blocks": None}

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The ViT is pre-trained; what is not decayed, by the names of each release.

        li2021: positions and relative tables. The others: positions, biases and the norms of the
        ViT, but neither LayerScale nor the norms of the pyramid.
        """
        vit = ("pos_embed", "{patch_embed|blocks}.{rest}")
        rest = ParameterRule(vit, rate="pretrained")
        if not self.options.decay_exceptions:
            return (rest,)
        if self.options.form == "li2021":
            return (
                ParameterRule("pos_embed", rate="pretrained", decay=False),
                ParameterRule("{window|global}_table", decay=False),
                rest,
            )
        exempt_vit = ("pos_embed", "blocks.{i}.norm{k}.{rest}", "{patch_embed|blocks}.{path}.bias")
        exempt = ("norms.{rest}", "convs.{i}.norm{k}.{rest}", "{path}.bias")
        return (
            ParameterRule(exempt_vit, rate="pretrained", decay=False),
            ParameterRule(exempt, decay=False),
            ParameterRule(vit, rate="pretrained", decay=True),
            ParameterRule("{rest}", decay=True),
        )

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        if self.options.form == "li2021":
            encoder = mae_encoder(fresh=("pos_embed",), positions=False)
            return {
                "mae_encoder": encoder,
                "hf_mae": from_hub(encoder),
                "li2021_release": release_to_li2021(),
            }
        fresh = ("blocks.{i}.ls{k:1|2}.gamma",)
        encoder = mae_encoder(fresh)
        return {
            "mae_encoder": encoder,
            "hf_mae": from_hub(encoder),
            "timm_vit": timm_vit(fresh),
            "vit_adapter_baseline": release_to_baseline(),
        }

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for patches and positions, i + 1 for block i and its convolution, else `depth`."""
        if name.startswith(("patch_embed.", "pos_embed")):
            return 0
        if name.startswith(("blocks.", "convs.")):
            return int(name.split(".")[1]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W), their sides as `padding` says."""
        maps = self.fpn(self.scaled(self.tokens_of(images)))
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    def tokens_of(self, images: Tensor) -> list[Tensor]:
        """Grids (B, h, w, D) after the block that each level reads, finest level first."""
        grid = self.patch_embed(images)  # (B, 3, H, W) -> (B, h, w, D)
        height, width = grid.shape[1:3]
        grid = grid + self.positions(height, width)
        biases = self.biases(height, width)
        recompute = self.options.checkpoint_activations
        read = []
        for i, (block, side) in enumerate(zip(self.blocks, windows(self.options), strict=True)):
            grid = apply_block(block, grid, *biases[side], recompute=recompute)
            if self.options.form == "conv" and str(i) in self.convs:
                grid = apply_block(self.convs[str(i)], grid, recompute=recompute)
            if i in quarter_ends(self.options.depth):
                read.append(grid)
        return 4 * read[-1:] if self.options.form == "conv" else read

    def positions(self, height: int, width: int) -> Tensor:
        """Absolute positions (1, h, w, D); li2021 has one grid and no slot of a class token."""
        if self.options.form == "li2021":
            return self.pos_embed.reshape(1, height, width, -1)
        return resize_table(self.pos_embed, height, width).reshape(1, height, width, -1)

    def biases(self, height: int, width: int) -> dict[int | None, tuple[Tensor, ...]]:
        """What attention adds to its logits, made once for all blocks, by the window's side."""
        side = self.options.window
        biases: dict[int | None, tuple[Tensor, ...]] = {side: (), None: ()}
        if hasattr(self, "window_table"):
            biases[side] = (table_bias(self.window_table, side, side),)
        if hasattr(self, "global_table"):
            biases[None] = (table_bias(self.global_table, height, width),)
        return biases

    def scaled(self, grids: list[Tensor]) -> list[Tensor]:
        """Maps of strides 4, 8, 16 and 32, (B, D, H/s, W/s), of four grids."""
        if self.options.form != "li2021":
            grids = [norm(grid) for norm, grid in zip(self.norms, grids, strict=True)]
        return self.scale([x.permute(0, 3, 1, 2) for x in grids])  # from (B, h, w, D)
