"""The transformers that ViT-Adapter adapts: a plain ViT, BEiT's, and Uni-Perceiver's.

Papers: ViT-Adapter (arXiv:2205.08534), section 4.1 and appendix A.1; BEiT (arXiv:2106.08254);
Uni-Perceiver (arXiv:2112.01522), whose blocks are BERT's, with the norm after the residual sum.

Shapes: a grid of tokens is (B, h, w, D) everywhere. Parameter names follow timm.

                   vit                    beit                     uni_perceiver
    positions      learned, absolute      bias, in every block     learned, absolute
    norms          before each path       before each path         after each sum, and of the input
    windows        padded after `qkv`     padded before            padded before
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.layers.block import ViTBlock, initialise
from backbones.layers.relative_positions import table_bias
from backbones.layers.windows import LatePaddedAttention, WindowAttention
from backbones.options.vit_adapter import EncoderName

INPUT_EPS = 1e-12
"""Floor inside Uni-Perceiver's norm of the input, which is BERT's; its blocks have 1e-6."""


class BiasedAttention(WindowAttention):
    """Window attention with BEiT's relative biases.

    The table has a number per offset of query and key and per head, as in Li et al. 2021, but every
    block has its own. Materialised: the bias, (1, heads, N, N), N = window^2.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads, window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def bias_of(self, queries: Tensor, height: int, width: int) -> Tensor:
        """The bias of a window, the same for all queries."""
        return table_bias(self.relative_position_bias_table, height, width)


class PostNormBlock(ViTBlock):
    """A block with the same parameters and its norms after the residual sums."""

    def forward(self, grid: Tensor, *context: Tensor) -> Tensor:
        """The grid after both paths."""
        grid = self.norm1(grid + self.drop_path(self.ls1(self.attn(grid, *context))))
        return self.norm2(grid + self.drop_path(self.ls2(self.mlp(grid))))


class InputNorm(nn.Module):
    """Adds the embedding of the modality "image", and normalises."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kind = nn.Parameter(torch.zeros(1, width))
        self.norm = nn.LayerNorm(width, eps=INPUT_EPS)

    def forward(self, grid: Tensor) -> Tensor:
        """The grid, normalised."""
        return self.norm(grid + self.kind)


def encoder_blocks(
    name: EncoderName,
    width: int,
    heads: int,
    windows: Sequence[int | None],
    rates: Sequence[float],
    layer_scale: float | None,
) -> nn.ModuleList:
    """A block for every window's side (None attends over the whole grid) and drop rate."""
    kind = PostNormBlock if name == "uni_perceiver" else ViTBlock
    built = nn.ModuleList(
        kind(width, attention(name, width, heads, window), rate, layer_scale)
        for window, rate in zip(windows, rates, strict=True)
    )
    return built.apply(initialise)


def attention(name: EncoderName, width: int, heads: int, window: int | None) -> WindowAttention:
    """The self-attention of a block."""
    if name == "vit":
        return LatePaddedAttention(width, heads, window)
    if name == "uni_perceiver":
        return WindowAttention(width, heads, window)
    assert window is not None
    return BiasedAttention(width, heads, window)
