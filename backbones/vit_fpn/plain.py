"""Base of the three published forms: a windowed plain ViT, four scales by deconvolution, an FPN.

Shapes, for B images of H x W pixels and a ViT of width D:
    grid    (B, H/16, W/16, D), the same through all blocks
    scaled  (B, D, H/s, W/s) with s = 4, 8, 16, 32
    p2..p5  (B, C, H/s, W/s)
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from backbones.contract import Backbone, Level
from backbones.layers.block import ViTBlock, apply_block, drop_rates, initialise
from backbones.layers.deconv_scales import DeconvScales
from backbones.layers.fpn import FPN
from backbones.layers.patch_embed import PatchEmbed
from backbones.layers.pos_embed import resize_table
from backbones.layers.windows import LatePaddedAttention
from backbones.options.transformer import TINY_PYRAMID, TINY_VIT, chosen_blocks, quarter_ends
from backbones.options.vit_fpn import Form, ViTFPNOptions

PRETRAINED = ("pos_embed", "{patch_embed|blocks}.{rest}")
"""Parameters of the ViT, by templates of their names."""


def window_sides(options: ViTFPNOptions) -> list[int | None]:
    """The side of every block's windows; None for the global ones."""
    whole = chosen_blocks(options.global_blocks, options.depth)
    return [None if i in whole else options.window for i in range(options.depth)]


class ViTFPN(Backbone):
    """Patch embedding, windowed and global blocks, four scales, feature pyramid network.

    `ViTFPN(options)` is an instance of the subclass that `options.form` names.
    """

    Options = ViTFPNOptions
    options: ViTFPNOptions
    pos_embed: nn.Parameter
    forms: ClassVar[dict[Form, type["ViTFPN"]]] = {}
    """The published forms, filled by the subclasses that name theirs."""
    layer_scale: ClassVar[float | None] = None
    """Initial LayerScale of every block; None for none."""

    def __init_subclass__(cls, form: Form | None = None) -> None:
        """Register a published form; other subclasses name none."""
        super().__init_subclass__()
        if form is not None:
            ViTFPN.forms[form] = cls

    def __new__(cls, options: ViTFPNOptions) -> "ViTFPN":
        """An instance of `cls`, or for `ViTFPN` itself, of the class of `options.form`."""
        return super().__new__(ViTFPN.forms[options.form] if cls is ViTFPN else cls)

    def __getnewargs__(self) -> tuple[ViTFPNOptions]:
        """What `copy` and `pickle` call `__new__` with."""
        return (self.options,)

    def __init__(self, options: ViTFPNOptions) -> None:
        super().__init__(options)
        width = options.width
        self.windows = window_sides(options)
        rates = drop_rates(options.drop_path, options.depth)
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(
            ViTBlock(
                width, LatePaddedAttention(width, options.heads, window), rate, self.layer_scale
            )
            for window, rate in zip(self.windows, rates, strict=True)
        ).apply(initialise)
        self.scale = DeconvScales(width)
        self.fpn = FPN([width] * 4, options.channels, options.norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The shared small ViT, in the same form."""
        return {**TINY_VIT, **TINY_PYRAMID, "global_blocks": None, "conv_blocks": None}

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the pyramid."""
        return self.options.depth + 1

    def depth_of(self, name: str) -> int:
        """0 for patches and positions, i + 1 for block i and what follows it, else `depth`."""
        if name.startswith(("patch_embed.", "pos_embed")):
            return 0
        if name.startswith(("blocks.", "convs.")):
            return int(name.split(".")[1]) + 1
        return self.depth

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W), their sides as `padding` says."""
        maps = self.fpn(self.scaled(self.tokens_of(images)))
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}

    def embed(self, images: Tensor) -> Tensor:
        """Patches with their absolute positions, (B, 3, H, W) -> (B, h, w, D)."""
        grid = self.patch_embed(images)
        height, width = grid.shape[1:3]
        return grid + resize_table(self.pos_embed, height, width).reshape(1, height, width, -1)

    def tokens_of(self, images: Tensor) -> list[Tensor]:
        """Grids (B, h, w, D) for the levels, finest first: after the last block of each quarter."""
        grid = self.embed(images)
        recompute, ends = self.options.checkpoint_activations, quarter_ends(self.options.depth)
        grids = []
        for i, block in enumerate(self.blocks):
            grid = apply_block(block, grid, recompute=recompute)
            if i in ends:
                grids.append(grid)
        return grids

    def scaled(self, grids: list[Tensor]) -> list[Tensor]:
        """Maps of strides 4, 8, 16 and 32, (B, D, H/s, W/s), of four grids."""
        return self.scale([x.permute(0, 3, 1, 2) for x in grids])  # from (B, h, w, D)
