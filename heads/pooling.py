"""RoIAlign over a pyramid: each region is read from the level that fits its size.

Papers: He et al., "Mask R-CNN" (arXiv:1703.06870), section 3; Lin et al., "Feature Pyramid
Networks" (arXiv:1612.03144), equation 1.

Differs from torchvision's `MultiScaleRoIAlign`: half-pixel alignment, as many samples per bin as
the region has cells, and strides that are known instead of guessed.

R regions, C channels, s the side of the output.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align


def level_of(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """Level (R,) of boxes (R, 4): 4 for a side of 224 pixels, one more for each doubling."""
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    levels = torch.floor(4 + torch.log2(sides / 224 + 1e-8))
    return levels.clamp(lowest, highest).long()


def pool_regions(maps: Sequence[Tensor], strides: Sequence[int], rois: Tensor, size: int) -> Tensor:
    """Cut regions out of the maps: (R, C, size, size).

    `maps` are (B, C, H / stride, W / stride); `rois` (R, 5) hold the image index and the box in
    pixels.
    """
    exponents = [int(math.log2(stride)) for stride in strides]
    levels = level_of(rois[:, 1:], exponents[0], exponents[-1])
    members = [torch.where(levels == exponent)[0] for exponent in exponents]
    pooled = [
        roi_align(level, rois[index], size, 1 / stride, sampling_ratio=0, aligned=True)
        for level, stride, index in zip(maps, strides, members, strict=True)
    ]
    return torch.cat(pooled)[torch.cat(members).argsort()]  # (R, C, s, s), in the order of `rois`


def to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (n_i, 4) of each image as (R, 5), image index first."""
    counts = torch.tensor([len(b) for b in boxes], device=boxes[0].device)
    images = torch.arange(len(boxes), device=counts.device).repeat_interleave(counts)
    flat = torch.cat(list(boxes))  # (R, 4)
    return torch.cat((images[:, None].to(flat.dtype), flat), dim=1)  # (R, 5)
