"""Swin's shifted-window block on maps of any size, around the parts of a timm block.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
ICCV 2021 (arXiv:2103.14030), section 3.2 and figure 4.

Shapes, for B maps of h x w cells with C channels and windows of side s, N = s * s, n windows:
    maps     (B, h, w, C)
    windows  (B * n, N, C)
    mask     (n, N, N), added to the attention logits

Differs from timm: the map is padded to whole windows before it is shifted, as the authors' detector
does (timm shifts first, and opposite edges of the map then meet in one unmasked window);
the shift is taken on maps of one window too; and the mask follows the map, not the image size of
construction. Names of parameters are timm's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.windows import from_windows, to_windows

APART = -100.0


def shift_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """Mask (n, N, N) that separates what the shift brought together; sides divide by `side`."""

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
        """Take over the parts of `block`, a timm `SwinTransformerBlock`."""
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
