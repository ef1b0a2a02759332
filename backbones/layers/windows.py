"""Windows of a token grid, and self-attention within them or over the whole grid.

Papers: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022
(arXiv:2203.16527), section 3: non-overlapping windows, no shift, padded before `qkv`. ViT-Adapter
(arXiv:2205.08534), section 4.1, and Li et al. 2021 (arXiv:2111.11429), section 3: padded after it.

Shapes, for B grids of h x w tokens of width D, n heads of d = D / n channels:
    grid                   (B, h, w, D)
    windows of side s      (B', s, s, D), B' = B * ceil(h / s) * ceil(w / s), row by row
    queries, keys, values  (B', n, N, d), N = s * s tokens in each

At the edge of a grid, windows are padded with zeros. Padded before `qkv`, the zeros become keys and
values that carry the projection's bias; padded after it, they stay zeros. Either way they take part
in the softmax, unmasked, as in the released code; checkpoints are not interchangeable.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def to_windows(grid: Tensor, side: int) -> Tensor:
    """Windows of a grid, which is first padded with zeros at the bottom and right."""
    batch, height, width, channels = grid.shape
    rows, columns = -(-height // side), -(-width // side)
    grid = F.pad(grid, (0, 0, 0, columns * side - width, 0, rows * side - height))
    split = grid.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
    return split.reshape(batch * rows * columns, side, side, channels)


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """The grid of height x width tokens that `to_windows` partitioned, without its padding."""
    side, channels = windows.shape[1], windows.shape[3]
    rows, columns = -(-height // side), -(-width // side)
    split = windows.reshape(-1, rows, columns, side, side, channels).transpose(2, 3)
    return split.reshape(-1, rows * side, columns * side, channels)[:, :height, :width]


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
