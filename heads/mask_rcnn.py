"""Mask R-CNN on any backbone that keeps the contract: images in, losses or detections out.

Papers: He et al., "Mask R-CNN" (arXiv:1703.06870); the head's details are those of MIMDet
(arXiv:2204.02964) and ViTDet (arXiv:2203.16527), which share detectron2's.

Differs from torchvision's `MaskRCNN`: it does not resize, pads only at the bottom and right, and
predicts in the pixels of its input; the caller scales back to the photograph.

B images; H, W their common padded size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.contract import Backbone, Padding
from heads.cascade import CascadeHeads
from heads.instances import Detections, Target
from heads.options import HeadOptions
from heads.roi_heads import RoIHeads
from heads.rpn import RPN


class MaskRCNN(nn.Module):
    """Backbone, region proposal network, box head (or a cascade of three) and mask head.

    `pixel_mean` and `pixel_std` are those of red, green and blue on the 0-255 scale. Padding is
    zero after normalisation, or grey of level `pad` before it (Li et al. 2021).
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        options: HeadOptions,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        pad: int | None = None,
    ) -> None:
        super().__init__()
        self.pad = pad
        channels = _common_channels(backbone)
        strides = [level.stride for level in backbone.levels]
        self.backbone = backbone
        self.rpn = RPN(channels, [*strides, 2 * strides[-1]], options)
        heads = CascadeHeads if options.cascade else RoIHeads
        self.roi_heads = heads(channels, strides, classes, options)
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Losses by name in training, detections of each image in evaluation.

        `images` are (3, h, w) uint8 RGB of any sizes. Tensors on another device are copied to the
        detector's one at a time; `Batch.to` copies a whole batch at once. The losses are
        `rpn_objectness`, `rpn_box`, `box_class`, `box_regression` and, with a mask head, `mask`;
        a cascade has `box_class_0`, `box_regression_0` and so on, one pair for each stage.
        """
        batch, sizes = self.prepare(images)
        maps = self.maps(batch, sizes)
        if not self.training:
            proposals, _ = self.rpn(maps, sizes)
            return self.roi_heads.detect(maps[:-1], [p.boxes for p in proposals], sizes)
        if targets is None:
            raise ValueError("training needs targets")
        targets = [target.to(batch.device) for target in targets]
        proposals, losses = self.rpn(maps, sizes, targets)
        return losses | self.roi_heads(maps[:-1], [p.boxes for p in proposals], targets, sizes)

    def prepare(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Normalise and pad: one batch (B, 3, H, W) and the true sizes (B, 2)."""
        shapes = [(image.shape[1], image.shape[2]) for image in images]
        height, width = canvas(shapes, self.backbone.padding)
        batch = self.pixel_mean.new_zeros(len(images), 3, height, width)
        if self.pad is not None:
            batch += (self.pad - self.pixel_mean) / self.pixel_std
        for place, image in zip(batch, images, strict=True):
            pixels = image.to(batch.device, non_blocking=True)
            normal = (pixels - self.pixel_mean) / self.pixel_std
            place[:, : image.shape[1], : image.shape[2]] = normal
        return batch, torch.tensor(shapes, device=batch.device)

    def maps(self, batch: Tensor, sizes: Tensor) -> list[Tensor]:
        """The pyramid and one level above it: every second pixel of the last map."""
        pyramid = self.backbone(batch, sizes)
        maps = [pyramid[level.name] for level in self.backbone.levels]
        return [*maps, maps[-1][:, :, ::2, ::2]]  # (B, C, h, w) -> (B, C, ceil(h/2), ceil(w/2))


def canvas(shapes: Sequence[tuple[int, int]], padding: Padding) -> tuple[int, int]:
    """Height and width that hold every one of `shapes` under a backbone's padding rule."""
    height, width = max(h for h, _ in shapes), max(w for _, w in shapes)
    if padding.square is None:
        step = padding.multiple
        return -(-height // step) * step, -(-width // step) * step
    if max(height, width) > padding.square:
        raise ValueError(
            f"an image of {height} x {width} pixels does not fit the backbone's square of "
            f"{padding.square} pixels"
        )
    return padding.square, padding.square


def _common_channels(backbone: Backbone) -> int:
    channels = {level.channels for level in backbone.levels}
    if len(channels) != 1:
        raise ValueError(f"the head needs maps of one width, the backbone has {sorted(channels)}")
    return channels.pop()
