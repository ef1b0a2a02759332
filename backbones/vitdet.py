"""ViTDet: a plain ViT with windows and relative positions, and a pyramid from its last map alone.

Paper: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022
(arXiv:2203.16527), sections 3 and 4; github.com/facebookresearch/detectron2, 02b5c4e,
projects/ViTDet.

Shapes, for B images of H x W pixels and a ViT of width D, with heads of d channels:
    grid     (B, H/16, W/16, D), the same through all blocks
    queries  (B', heads, N, d), windows folded into the batch B', N = h * w tokens in each
    tables   (2S - 1, d), offsets -(S - 1) .. S - 1 of rows or columns; entry S - 1 is offset 0
    p2..p5   (B, C, H/s, W/s) with s = 4, 8, 16, 32

Relative positions are MViTv2's (arXiv:2112.01526), section 4.1: a table of rows and one of columns,
both multiplied with the query. Tables are read by sliding windows, not by an N x N index: nothing
but the bias is N x N, and the backward pass sums in a fixed order on every device.

Differs from detectron2: without a square (`square: null`) images are padded to a multiple of 32,
where detectron2 pads nothing and rounds odd sizes down; an image larger than the square is refused,
where detectron2 crops it. ViT-Adapter's "ViTDet" rows are not this model: they are
`vit_fpn` with `form: conv`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.detectron2_detectors import detectron2_to_vitdet
from backbones.key_maps.mae import from_hub, mae_encoder
from backbones.key_maps.rename import KeyMap
from backbones.layers.block import ViTBlock, apply_block, drop_rates, initialise
from backbones.layers.patch_embed import PatchEmbed
from backbones.layers.pos_embed import resize_table
from backbones.layers.simple_pyramid import SimplePyramid
from backbones.layers.windows import WindowAttention
from backbones.options.transformer import PATCH, TINY_PIXELS, TINY_PYRAMID, TINY_VIT, chosen_blocks
from backbones.options.vitdet import ViTDetOptions


def by_offset(table: Tensor, side: int) -> Tensor:
    """Entries of `table` (2S - 1, d) for every pair on a line of `side` cells: (side, side, d).

    Entry (i, j) is that of query i and key j. A table of another length is resized linearly.
    """
    span = 2 * side - 1
    if table.shape[0] != span:
        resized = F.interpolate(table.float().T[None], span, mode="linear", align_corners=False)
        table = resized[0].T  # (2S - 1, d) -> (2 side - 1, d)
    slid = table.unfold(0, side, 1)  # (side, d, side), keys in falling order
    return slid.flip(2).transpose(1, 2)


def decomposed_bias(
    queries: Tensor, table_rows: Tensor, table_columns: Tensor, height: int, width: int
) -> Tensor:
    """Bias of each query, (B', heads, N, N), from tables of rows and columns (2S - 1, d)."""
    batch, heads, _, channels = queries.shape
    grid = queries.reshape(batch, heads, height, width, channels)
    rows = by_offset(table_rows, height).to(queries.dtype)
    columns = by_offset(table_columns, width).to(queries.dtype)
    of_rows = torch.einsum("bnhwd,hkd->bnhwk", grid, rows)  # (B, heads, h, w, h)
    of_columns = torch.einsum("bnhwd,wkd->bnhwk", grid, columns)  # (B, heads, h, w, w)
    bias = of_rows[..., None] + of_columns[..., None, :]  # (B, heads, h, w, h, w)
    return bias.flatten(4).flatten(2, 3)


class RelativeAttention(WindowAttention):
    """Window attention with decomposed relative positions.

    `side` is the side of the grid that the tables are stored for; a window's own side replaces it.
    Materialised beside queries, keys and values: the bias, (B', heads, N, N), once.
    """

    def __init__(self, width: int, heads: int, side: int, window: int | None = None) -> None:
        super().__init__(width, heads, window)
        shape = (2 * (window or side) - 1, width // heads)
        self.rel_pos_h = nn.Parameter(torch.zeros(shape))
        self.rel_pos_w = nn.Parameter(torch.zeros(shape))

    def bias_of(self, queries: Tensor, height: int, width: int) -> Tensor:
        """The bias of unscaled queries: only their product with keys is scaled."""
        return decomposed_bias(queries, self.rel_pos_h, self.rel_pos_w, height, width)


def blocks(options: ViTDetOptions) -> nn.ModuleList:
    """The transformer's blocks, in windows except the global ones."""
    whole = chosen_blocks(options.global_blocks, options.depth)
    side = options.image_size // PATCH
    built = nn.ModuleList()
    attention: WindowAttention
    for i, rate in enumerate(drop_rates(options.drop_path, options.depth)):
        window = None if i in whole else options.window
        if options.rel_pos:
            attention = RelativeAttention(options.width, options.heads, side, window)
        else:
            attention = WindowAttention(options.width, options.heads, window)
        built.append(ViTBlock(options.width, attention, rate))
    return built


class ViTDet(Backbone):
    """Patch embedding, windowed and global blocks, simple feature pyramid."""

    Options = ViTDetOptions
    options: ViTDetOptions

    def __init__(self, options: ViTDetOptions) -> None:
        super().__init__(options)
        self.patch_embed = PatchEmbed(options.width)
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + options.grid**2, options.width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = blocks(options).apply(initialise)
        self.pyramid = SimplePyramid(options.width, options.channels, options.norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.padding = Padding(multiple=32, square=options.square)

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT, for images of any size."""
        return {
            **TINY_VIT,
            **TINY_PYRAMID,
            "global_blocks": None,
            "image_size": TINY_PIXELS,
            "square": None,
        }

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The ViT is pre-trained; its norms and positions are not decayed, save on request.

        The released optimizers decay everything else, biases and the pyramid's norms included:
        the recipe says so with `optimizer.no_decay: none`.
        """
        exempt = ("pos_embed", "blocks.{i}.{norm1|norm2}.{rest}")
        vit = ("pos_embed", "{patch_embed|blocks}.{rest}")
        rest = ParameterRule(vit, rate="pretrained")
        if not self.options.decay_exceptions:
            return (rest,)
        return (ParameterRule(exempt, rate="pretrained", decay=False), rest)

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Layouts this backbone can start from."""
        encoder = mae_encoder(fresh=("blocks.{i}.attn.rel_pos_{h|w}",))
        return {
            "mae_encoder": encoder,
            "hf_mae": from_hub(encoder),
            "detectron2_vitdet": detectron2_to_vitdet(),
        }

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for patches and positions, i + 1 for block i, `depth` for the pyramid."""
        if name.startswith(("patch_embed.", "pos_embed")):
            return 0
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W) with sides divisible by 32."""
        grid = self.patch_embed(images)  # (B, 3, H, W) -> (B, h, w, D)
        height, width = grid.shape[1:3]
        positions = resize_table(self.pos_embed, height, width)  # (1, h * w, D)
        grid = grid + positions.reshape(1, height, width, -1)
        for block in self.blocks:
            grid = apply_block(block, grid, recompute=self.options.checkpoint_activations)
        maps = self.pyramid(grid.permute(0, 3, 1, 2))  # (B, h, w, D) -> (B, D, h, w)
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}
