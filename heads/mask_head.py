"""Mask head: which pixels inside a box are the object?

Paper: He et al., "Mask R-CNN" (arXiv:1703.06870), section 3 and figure 4.

Differs from torchvision's: convolutions may be normalised, and the targets are rasterised inside
the box, on the grid of the prediction (`heads.mask_targets`).

P foreground regions, K classes, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.conv import conv_stack, init_conv, init_normal
from heads.options import HeadOptions
from heads.rules import RULES

POOL = 14
SIZE = 2 * POOL


class MaskHead(nn.Module):
    """Pooled regions to one mask per class."""

    def __init__(self, in_channels: int, classes: int, options: HeadOptions) -> None:
        super().__init__()
        channels = options.channels
        self.convs = conv_stack(in_channels, channels, 4, options.norm)
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.logits = nn.Conv2d(channels, classes, 1)
        init_conv(self.up)
        if RULES[options.rules].he_mask_logits:
            init_conv(self.logits)
        else:
            init_normal(self.logits, std=0.001)

    def forward(self, regions: Tensor) -> Tensor:
        """Regions (P, C, 14, 14) to logits (P, K, 28, 28)."""
        features = F.relu(self.up(self.convs(regions)))  # (P, C, 28, 28)
        return self.logits(features).float()


def of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The mask (P, 28, 28) of each region's class out of (P, K, 28, 28)."""
    return logits[torch.arange(len(labels), device=labels.device), labels]


def mask_loss(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy per pixel of the masks of `labels` (P,) against `targets` (P, 28, 28)."""
    chosen = of_class(logits, labels)
    total = F.binary_cross_entropy_with_logits(chosen, targets.to(chosen), reduction="sum")
    return total / max(chosen.numel(), 1)  # zero, and still connected, without foreground
