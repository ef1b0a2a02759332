"""timm's Swin and MViTv2 at any image size, whatever the size they were constructed with.

Papers: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
ICCV 2021 (arXiv:2103.14030), section 3.2 and figure 4. Li et al., "MViTv2: Improved Multiscale
Vision Transformers for Classification and Detection", CVPR 2022 (arXiv:2112.01526), sections 4.1
and 4.3.

Shapes, for B images and blocks on h x w cells with C channels:
    maps     (B, h, w, C)
    windows  (B * n, N, C), Swin's, n of side s with N = s * s cells
    mask     (n, N, N), added to the attention logits
    tokens   (B, h * w, C), MViTv2's
    tables   (2 S - 1, d) of rows and of columns, S the larger side of queries and keys, d channels
             per head

Swin differs from timm: the map is padded to whole windows before it is shifted, as the authors'
detector does (timm shifts first, and opposite edges of the map then meet in one unmasked window);
the shift is taken on maps of one window too; and the mask follows the map, not the image size of
construction. Names of parameters are timm's.

timm makes MViTv2's tables for one square image and reads them by offset from their middle, so that
any other size reads wrong entries or leaves the table. Here each table is resized linearly to the
block's own side, as the paper does for detection: the result equals a model constructed at that
size from resized tables.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from backbones.layers.windows import from_windows, to_windows

APART = -100.0


def shift_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """Mask (n, N, N) that separates what the shift joined; sides are divisible by `side`."""

    def regions(length: int) -> Tensor:
        cells = torch.arange(length, device=like.device)
        return (cells >= length - side).long() + (cells >= length - shift).long()

    labels = 3 * regions(height)[:, None] + regions(width)  # (h, w)
    windows = to_windows(labels[None, ..., None], side).flatten(1)  # (n, N)
    differ = windows[:, :, None] != windows[:, None, :]
    return differ.to(like.dtype) * APART


class ShiftedWindowBlock(nn.Module):
    """Attention in windows, shifted by `shift` cells, then the MLP; both residual."""

    def __init__(self, block: Any, shifted: bool) -> None:
        """Reuse the parts of `block`, a timm `SwinTransformerBlock`."""
        super().__init__()
        self.norm1 = block.norm1
        self.attn = block.attn
        self.drop_path1 = block.drop_path1
        self.norm2 = block.norm2
        self.mlp = block.mlp
        self.drop_path2 = block.drop_path2
        self.side: int = block.attn.window_size[0]
        self.shift = self.side // 2 if shifted else 0

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, h, w, C) in and out."""
        maps = maps + self.drop_path1(self.attend(self.norm1(maps)))
        return maps + self.drop_path2(self.mlp(self.norm2(maps)))

    def attend(self, maps: Tensor) -> Tensor:
        """Windowed attention on maps (B, h, w, C), padded with zeros to whole windows."""
        height, width = maps.shape[1:3]
        padded = F.pad(maps, (0, 0, 0, -width % self.side, 0, -height % self.side))
        padded_height, padded_width = padded.shape[1:3]
        mask = None
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), (1, 2))
            mask = shift_mask(padded_height, padded_width, self.side, self.shift, maps)
        windows = to_windows(padded, self.side)  # (B * n, s, s, C)
        mixed = self.attn(windows.flatten(1, 2), mask=mask)  # (B * n, N, C)
        padded = from_windows(mixed.reshape(windows.shape), padded_height, padded_width)
        if self.shift:
            padded = padded.roll((self.shift, self.shift), (1, 2))
        return padded[:, :height, :width]


def free_of_image_size(swin: Any) -> None:
    """Replace the blocks of a timm `SwinTransformer`, in place; every second one is shifted."""
    for stage in swin.layers:
        for index, block in enumerate(stage.blocks):
            stage.blocks[index] = ShiftedWindowBlock(block, shifted=index % 2 == 1)


def resize_offsets(table: Tensor, length: int) -> Tensor:
    """A table of offsets (L, d) brought to (length, d)."""
    if table.shape[0] == length:
        return table
    line = table.float().T[None]  # (1, d, L)
    resized = F.interpolate(line, length, mode="linear", align_corners=False)
    return resized[0].T.to(table.dtype)


def stride_of(pool: nn.Module | None, axis: int) -> int:
    """Stride of a pooling convolution along an axis; 1 where there is none."""
    return pool.stride[axis] if isinstance(pool, nn.Conv2d) else 1


def tables_of(attention: Any, size: tuple[int, int]) -> dict[str, Tensor]:
    """Both tables for a map of `size` (h, w), by their names in the block."""
    tables = {}
    for axis, name in enumerate(("rel_pos_h", "rel_pos_w")):
        strides = (stride_of(pool, axis) for pool in (attention.pool_q, attention.pool_k))
        side = max(-(-size[axis] // stride) for stride in strides)
        tables[f"attn.{name}"] = resize_offsets(getattr(attention, name), 2 * side - 1)
    return tables


def pooled_maps(body: Any, images: Tensor) -> list[Tensor]:
    """Maps of all stages, (B, C, h, w), of a timm `MultiScaleVit` without a class token."""
    tokens, size = body.patch_embed(images)  # (B, h * w, C)
    maps = []
    for stage in body.stages:
        for block in stage.blocks:
            tables = tables_of(block.attn, tuple(size))
            tokens, size = functional_call(block, tables, (tokens, size))
        maps.append(tokens.transpose(1, 2).unflatten(2, tuple(size)))
    return maps
