"""Self-attention over a grid of tokens, whole or in windows, on PyTorch's fused kernels.

Papers: Li et al., ECCV 2022 (arXiv:2203.16527), section 3, for windows padded before `qkv`;
ViT-Adapter (arXiv:2205.08534), section 4.1, and Li et al. 2021 (arXiv:2111.11429), section 3, for
windows padded after it.

Shapes, for B grids of h x w tokens of width D, n heads of d = D / n channels:
    grid                  (B, h, w, D) in and out
    queries, keys, values (B', n, N, d), windows folded into the batch B', N tokens in each

At the edge of a grid, windows are padded with zeros. Padded before `qkv`, the zeros become keys and
values that carry the projection's bias; padded after it, they stay zeros. Either way they take part
in the softmax, unmasked, as in the released code; checkpoints are not interchangeable.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.layers.windows import from_windows, to_windows


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, n, h * w, d), of a projected grid (B, h, w, 3 D)."""
    batch, height, width, channels = qkv.shape
    parts = qkv.reshape(batch, height * width, 3, heads, channels // (3 * heads))
    queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
    return queries, keys, values


def merge_heads(values: Tensor, height: int, width: int) -> Tensor:
    """A grid (B, h, w, D) of attended values (B, n, h * w, d)."""
    batch, heads, _, channels = values.shape
    return values.transpose(1, 2).reshape(batch, height, width, heads * channels)


class WindowAttention(nn.Module):
    """Attention within windows of `window` x `window` tokens; None is the whole grid.

    Windows are padded before `qkv`. Subclasses add a bias to the logits, or pad elsewhere.
    """

    def __init__(self, width: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, grid: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attended grid; `bias`, (1, n, N, N), replaces `bias_of`."""
        height, width = grid.shape[1:3]
        qkv = self.project(grid)  # (B, h, w, D) -> (B', s, s, 3 D)
        rows, columns = qkv.shape[1:3]
        queries, keys, values = split_heads(qkv, self.heads)
        bias = self.bias_of(queries, rows, columns) if bias is None else bias
        if bias is not None:
            bias = bias.to(queries.dtype)
        values = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        attended = merge_heads(values, rows, columns)  # -> (B', s, s, D)
        if self.window is not None:
            attended = from_windows(attended, height, width)
        return self.proj(attended)

    def project(self, grid: Tensor) -> Tensor:
        """Queries, keys and values by window, (B', s, s, 3 D)."""
        return self.qkv(grid if self.window is None else to_windows(grid, self.window))

    def bias_of(self, queries: Tensor, height: int, width: int) -> Tensor | None:
        """What is added to the logits of height x width tokens: (1 or B', n, N, N)."""
        return None


class LatePaddedAttention(WindowAttention):
    """Window attention whose windows are padded after `qkv`."""

    def project(self, grid: Tensor) -> Tensor:
        """Queries, keys and values by window, (B', s, s, 3 D)."""
        qkv: Tensor = self.qkv(grid)
        return qkv if self.window is None else to_windows(qkv, self.window)
