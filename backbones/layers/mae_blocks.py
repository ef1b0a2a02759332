"""Transformer blocks of MAE, over any tokens or inside the windows of a grid, and their positions.

Papers: He et al., "Masked Autoencoders Are Scalable Vision Learners" (arXiv:2111.06377), appendix
A.1; MIMDet (arXiv:2204.02964), table 8, for the windows, which are those of Li et al. 2021
(arXiv:2111.11429): no shift, no relative positions, no parameters of their own. A window that
reaches over the grid's edge is filled up with zeros after the norm, as in ViTDet.

Shapes, for B images and width D:
    tokens  (B, K, D), any K of them
    grid    (B, h, w, D), all of them in their places
"""

from functools import partial
from typing import Any

from timm.models.vision_transformer import Block as TokenBlock
from torch import nn

from backbones.layers.attention import RelativeAttention
from backbones.layers.block import Block as GridBlock
from backbones.layers.pos_embed import sine_cosine_table


def blocks(width: int, heads: int, rates: list[float], eps: float) -> nn.ModuleList:
    """Pre-norm transformer blocks over tokens, one per stochastic-depth rate."""
    norm: Any = partial(nn.LayerNorm, eps=eps)  # timm asks for a class, takes any callable
    return nn.ModuleList(
        TokenBlock(width, heads, qkv_bias=True, drop_path=rate, norm_layer=norm) for rate in rates
    )


def window_blocks(
    width: int, heads: int, rates: list[float], eps: float, window: int
) -> nn.ModuleList:
    """The same with the same parameters, over a grid in windows of `window` x `window` tokens."""
    return nn.ModuleList(
        GridBlock(
            width,
            RelativeAttention(width, heads, window, window, relative=False),
            rate,
            norm_eps=eps,
        )
        for rate in rates
    )


def position_table(width: int, grid: int) -> nn.Parameter:
    """Frozen sine-cosine positions, stored with the weights as MAE does."""
    return nn.Parameter(sine_cosine_table(width, grid), requires_grad=False)


def initialise(module: nn.Module) -> None:
    """MAE's initial values: Xavier-uniform matrices, zero biases; norms are ones and zeros."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
