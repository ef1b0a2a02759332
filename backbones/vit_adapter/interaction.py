"""Interactions of ViT-Adapter: spatial features enter the ViT, its tokens update them in turn.

Paper: ViT-Adapter (arXiv:2205.08534), sections 3.4 and 3.5, figure 4 (d) and (e).

Shapes, for an h x w grid of ViT tokens of width D:
    tokens   (B, h * w, D), the ViT's, stride 16
    spatial  (B, 21 * h * w / 4, D), the cells of strides 8, 16 and 32, in that order

Released code (czczup/ViT-Adapter, fd64a51), beyond the paper: the feed-forward has a depthwise
convolution; in an extractor the attention's residual has neither factor nor stochastic depth.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from backbones.options.vit_adapter import AttentionName, Part
from backbones.vit_adapter.deform_attention import DeformableAttention, Grid
from backbones.vit_adapter.spatial_prior import initialise_conv
from backbones.vit_adapter.stripe_attention import GlobalAttention, StripeAttention

NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """Sizes shared by all injectors and extractors; `inner` is the width of values."""

    width: int
    inner: int
    heads: int
    points: int
    attention: AttentionName
    hidden: int
    drop_path: float
    recompute: bool

    def make_attention(self, levels: int) -> nn.Module:
        """Cross-attention to features of `levels` scales."""
        if self.attention == "deformable":
            return DeformableAttention(
                self.width, self.inner, heads=self.heads, levels=levels, points=self.points
            )
        if self.attention == "global":
            return GlobalAttention(self.width, self.inner, self.heads)
        stripes = {"cswin": 1, "pale": 2}[self.attention]
        return StripeAttention(self.width, self.inner, self.heads, stripes)


class ConvFeedForward(nn.Module):
    """Linear, depthwise 3x3 convolution shared by the scales, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, width)
        for linear in (self.fc1, self.fc2):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        initialise_conv(self.dwconv)

    def forward(self, spatial: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Spatial features of `grids` in and out."""
        maps = to_maps(self.fc1(spatial), grids)
        mixed = torch.cat([self.dwconv(x).flatten(2) for x in maps], dim=2).transpose(1, 2)
        return self.fc2(F.gelu(mixed))


class Injector(nn.Module):
    """Tokens attend to spatial features; the factor per channel starts at 0, as the identity."""

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(settings.width, eps=NORM_EPS)
        self.feat_norm = nn.LayerNorm(settings.width, eps=NORM_EPS)
        self.attn = settings.make_attention(levels=3)
        self.gamma = nn.Parameter(torch.zeros(settings.width))

    def forward(
        self, tokens: Tensor, grid: Grid, spatial: Tensor, spatial_grids: Sequence[Grid]
    ) -> Tensor:
        """Tokens of `grid` in and out."""
        features = self.feat_norm(spatial)
        attended = self.attn(self.query_norm(tokens), [grid], features, spatial_grids)
        return tokens + self.gamma * attended


class Extractor(nn.Module):
    """Spatial features attend to tokens, then pass a small feed-forward if `hidden` is not 0."""

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(settings.width, eps=NORM_EPS)
        self.feat_norm = nn.LayerNorm(settings.width, eps=NORM_EPS)
        self.attn = settings.make_attention(levels=1)
        self.with_ffn = settings.hidden > 0
        if self.with_ffn:
            self.ffn_norm = nn.LayerNorm(settings.width, eps=NORM_EPS)
            self.ffn = ConvFeedForward(settings.width, settings.hidden)
            self.drop_path = DropPath(settings.drop_path)

    def forward(
        self, spatial: Tensor, spatial_grids: Sequence[Grid], tokens: Tensor, grid: Grid
    ) -> Tensor:
        """Spatial features of `spatial_grids` in and out."""
        features = self.feat_norm(tokens)
        spatial = spatial + self.attn(self.query_norm(spatial), spatial_grids, features, [grid])
        if not self.with_ffn:
            return spatial
        return spatial + self.drop_path(self.ffn(self.ffn_norm(spatial), spatial_grids))


@dataclass(frozen=True, slots=True)
class Spatial:
    """Spatial features: the stride-4 map, which takes no part, and the cells of the other maps."""

    finest: Tensor
    cells: Tensor
    grids: Sequence[Grid]


class Interaction(nn.Module, ABC):
    """What surrounds a group of blocks; between them tokens stay on their grid, (B, h, w, D)."""

    @abstractmethod
    def inject(self, grid: Tensor, spatial: Spatial) -> Tensor:
        """Tokens before the group, with spatial features added."""

    @abstractmethod
    def extract(self, spatial: Spatial, grid: Tensor) -> Spatial:
        """Spatial features after the group, updated from its tokens."""


class Addition(Interaction):
    """Variant 1 of table 6: spatial features are resized to the tokens' grid and added.

    The paper says no more than this ("directly resizing and adding"); that it happens where the
    injectors stand, before each group, is our reading.
    """

    def inject(self, grid: Tensor, spatial: Spatial) -> Tensor:
        """Tokens plus the maps of stride 8, 16 and 32."""
        size = (grid.shape[1], grid.shape[2])
        maps = [resized(x, size) for x in to_maps(spatial.cells, spatial.grids)]
        return grid + torch.stack(maps).sum(0).permute(0, 2, 3, 1)  # (B, D, h, w) -> (B, h, w, D)

    def extract(self, spatial: Spatial, grid: Tensor) -> Spatial:
        """Spatial features, unchanged."""
        return spatial


class Exchange(Interaction):
    """An injector before the group and any number of extractors after it."""

    def __init__(self, settings: AdapterSettings, extractors: int) -> None:
        super().__init__()
        self.injector = Injector(settings)
        self.extractors = nn.ModuleList(Extractor(settings) for _ in range(extractors))
        self.recompute = settings.recompute

    def inject(self, grid: Tensor, spatial: Spatial) -> Tensor:
        """Tokens after the injector."""
        size = (grid.shape[1], grid.shape[2])
        tokens = self.run(self.injector, grid.flatten(1, 2), size, spatial.cells, spatial.grids)
        return torch.unflatten(tokens, 1, size)

    def extract(self, spatial: Spatial, grid: Tensor) -> Spatial:
        """Spatial features after the extractors, which all read the same tokens."""
        size, cells = (grid.shape[1], grid.shape[2]), spatial.cells
        for extractor in self.extractors:
            cells = self.run(extractor, cells, spatial.grids, grid.flatten(1, 2), size)
        return replace(spatial, cells=cells)

    def run(self, module: nn.Module, *arguments: Tensor | Grid | Sequence[Grid]) -> Tensor:
        """`module` on its arguments; with `recompute` it runs again in the backward pass."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(module, *arguments, use_reentrant=False)
        return module(*arguments)


def make_interactions(
    settings: AdapterSettings, part: Part, count: int, extra_extractors: int
) -> nn.ModuleList:
    """The interactions around `count` groups of blocks, for an adapter up to `part`."""
    if part == "spm":
        return nn.ModuleList(Addition() for _ in range(count))
    extractors = [0] * count
    if part == "extractor":
        extractors = [1] * (count - 1) + [1 + extra_extractors] * (count > 0)
    return nn.ModuleList(Exchange(settings, number) for number in extractors)


def grid_of(maps: Tensor) -> Grid:
    """Height and width of maps (B, D, h, w)."""
    return maps.shape[2], maps.shape[3]


def resized(maps: Tensor, size: Grid) -> Tensor:
    """Maps brought to `size` by bilinear interpolation, half a size by the mean of 2 x 2 cells."""
    if grid_of(maps) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def to_maps(spatial: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """Cells of all grids, (B, N, D), as one map (B, D, h, w) per grid."""
    parts = torch.split(spatial, [height * width for height, width in grids], dim=1)
    return [
        torch.unflatten(cells.transpose(1, 2), 2, grid)
        for cells, grid in zip(parts, grids, strict=True)
    ]
