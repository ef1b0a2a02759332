"""Pre-norm transformer block over a grid of tokens, with the attention it is given.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words" (arXiv:2010.11929), section 3.1.

Shapes: a grid is (B, h, w, D) everywhere. Parameter names follow timm.

Differs from timm's `Block`: tokens stay on their grid, so that windows need no sizes passed along.
"""

import torch
from timm.layers.drop import DropPath
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class ViTBlock(nn.Module):
    """Attention and a four times wider perceptron, each on a residual path.

    `layer_scale` is the initial factor of both paths per channel; None leaves them unscaled.
    """

    def __init__(
        self,
        width: int,
        attention: nn.Module,
        drop_path: float,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = attention
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, 4 * width)
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, grid: Tensor, *context: Tensor) -> Tensor:
        """The grid after both paths; `context` is passed on to the attention."""
        grid = grid + self.drop_path(self.ls1(self.attn(self.norm1(grid), *context)))
        return grid + self.drop_path(self.ls2(self.mlp(self.norm2(grid))))


def apply_block(block: nn.Module, grid: Tensor, *context: Tensor, recompute: bool) -> Tensor:
    """`block` on `grid`; with `recompute` its activations are made again in the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, grid, *context, use_reentrant=False)
    return block(grid, *context)


def drop_rates(last: float, depth: int) -> list[float]:
    """Stochastic depth of every block, rising linearly from 0 to `last`."""
    return [last * i / max(1, depth - 1) for i in range(depth)]


def initialise(module: nn.Module) -> None:
    """A ViT's usual initial values: narrow normal matrices, zero biases; norms are ones, zeros."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
