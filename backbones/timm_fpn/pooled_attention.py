"""Maps of a timm MViTv2 at any image size: its tables of relative positions follow the image.

Paper: Li et al., "MViTv2: Improved Multiscale Vision Transformers for Classification and
Detection", CVPR 2022 (arXiv:2112.01526), sections 4.1 and 4.3.

Shapes, for B images and blocks on h x w cells with C channels, d channels per head:
    tokens  (B, h * w, C)
    tables  (2 S - 1, d), one for rows and one for columns, S the larger side of queries and keys

timm makes the tables for one square image and reads them by offset from their middle, so that any
other size reads wrong entries or leaves the table. Here each table is resized linearly to the
block's own side, as the paper does for detection: the result equals a model constructed at that
size from resized tables.
"""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


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
