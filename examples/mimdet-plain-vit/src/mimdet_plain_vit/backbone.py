"""A plain ViT of timm whose last map becomes a simple feature pyramid, as in ViTDet.

Papers: Dosovitskiy et al. (arXiv:2010.11929); Li et al., ViTDet (arXiv:2203.16527), section 3;
DINOv2 (arXiv:2304.07193), BEiT (arXiv:2106.08254), DeiT III (arXiv:2204.07118), AugReg
(arXiv:2106.10270).

Shapes, for B images of H x W pixels, h = H/16, w = W/16, width D:
    grid    (B, h, w, D)
    p2..p5  (B, channels, H/s, W/s) with s = 4, 8, 16, 32

Differs from timm: patches are always of 16 pixels, since the head needs strides of powers of two;
kernels for 14 pixels are resampled as they are loaded (FlexiViT, arXiv:2212.08013, section 3.4).
There are no class and register tokens. BEiT's tables of offsets are resized once, as they are
loaded, to the windows and to one square that all images are padded to.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mimdet_cli.plugin_api import (
    Backbone,
    KeyMap,
    Level,
    Padding,
    ParameterRule,
    SimplePyramid,
)
from mimdet_plain_vit.key_maps import timm_to_plain
from mimdet_plain_vit.options import PATCH, PlainViTOptions, is_beit, timm_model
from mimdet_plain_vit.positions import bias, stretched, zeros
from mimdet_plain_vit.windows import cut, joined

BLOCK = re.compile(r"(?:blocks|tables)\.(\d+)")
VIT_LAYOUTS = ("timm_vit", "mae_encoder")
"""What mimdet's catalogue calls the layouts of such files."""


class PlainViT(Backbone):
    """Patches, positions, blocks of timm, the model's last norm if it has one, the pyramid."""

    contract = 2
    Options = PlainViTOptions
    options: PlainViTOptions

    def __init__(self, options: PlainViTOptions) -> None:
        super().__init__(options)
        model = timm_model(options)
        self.patch_embed = model.patch_embed
        self.norm_pre = getattr(model, "norm_pre", nn.Identity())
        self.blocks = nn.ModuleList(model.blocks)
        self.norm = model.norm
        self.beit = is_beit(options.model)
        self.prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
        self.sides = self.windows()
        if self.beit:
            heads = model.blocks[0].attn.num_heads
            self.tables = nn.ParameterList(zeros(s or options.grid, heads) for s in self.sides)
        else:
            self.pos_embed = nn.Parameter(model.pos_embed.detach()[:, -(options.grid**2) :].clone())
        self.pyramid = SimplePyramid(model.embed_dim, options.channels, options.norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.padding = Padding(square=PATCH * options.grid if self.beit else None)

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Four narrow blocks of the same model, on images of 128 pixels."""
        small = {"width": 128, "depth": 4, "grid": 8, "channels": 64, "norm": "bn"}
        window = None if options.get("window") is None else 4
        plain = {"drop_path": 0.0, "global_blocks": None, "checkpoint_activations": False}
        return {**small, **plain, "window": window}

    def windows(self) -> list[int | None]:
        """The side of every block's windows; None for blocks that attend over the whole image."""
        count = len(self.blocks)
        whole = self.options.global_blocks
        if whole is None:
            whole = tuple(count * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
        return [None if i in whole else self.options.window for i in range(count)]

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Maps by level name, finest first."""
        grid = self.patch_embed.proj(images).permute(0, 2, 3, 1)  # (B, 3, H, W) -> (B, h, w, D)
        if not self.beit:
            height, width = grid.shape[1:3]
            positions = stretched(self.pos_embed, height, width)
            grid = grid + positions.reshape(1, height, width, -1)
        grid = self.norm_pre(grid)
        for i in range(len(self.blocks)):
            if self.options.checkpoint_activations and self.training:
                grid = checkpoint(self.block, grid, i, use_reentrant=False)
            else:
                grid = self.block(grid, i)
        last = self.norm(grid).permute(0, 3, 1, 2)  # (B, D, h, w)
        return {level.name: x for level, x in zip(self.levels, self.pyramid(last), strict=True)}

    def block(self, grid: Tensor, index: int) -> Tensor:
        """Block `index` on a grid (B, h, w, D), in its windows."""
        height, width = grid.shape[1:3]
        side = self.sides[index]
        block: Any = self.blocks[index]
        tokens: Tensor = grid.flatten(1, 2) if side is None else cut(grid, side)
        if self.beit:
            square = bias(self.tables[index], side or self.options.grid)
            tokens = block(tokens, shared_rel_pos_bias=square)
        else:
            tokens = block(tokens)
        if side is None:
            return tokens.reshape(grid.shape)
        return joined(tokens, side, height, width)

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """All but the pyramid comes pre-trained; positions are not decayed."""
        positions = "tables.{i}" if self.beit else "pos_embed"
        return (
            ParameterRule(positions, rate="pretrained", decay=False),
            ParameterRule("{patch_embed|norm_pre|blocks|norm}.{rest}", rate="pretrained"),
        )

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """timm's checkpoints, by the names that mimdet's catalogue gives their layouts."""
        has_norm = bool(list(self.norm.parameters()))
        key_map = timm_to_plain(self.prefix, has_norm=has_norm)
        return {"timm_beit": key_map} if self.beit else dict.fromkeys(VIT_LAYOUTS, key_map)

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the last norm and of the pyramid."""
        return len(self.blocks) + 1

    def depth_of(self, name: str) -> int:
        """0 for patches and positions, i + 1 for block i, else `depth`."""
        if found := BLOCK.match(name):
            return int(found[1]) + 1
        return 0 if name.startswith(("patch_embed.", "pos_embed", "norm_pre.")) else self.depth
