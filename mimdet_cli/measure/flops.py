"""Multiply-accumulates of a detector's parts.

One multiplication and the addition of its product count as one, as in both papers: what MIMDet
(arXiv:2204.02964, table 10) calls FLOPs are these; tools that count both report twice as many.
Convolutions and matrix products count, those of attention too. Norms, activations, interpolation,
RoIAlign and the sampling of deformable attention do not.

Random weights propose and detect arbitrarily much. The heads are therefore counted on fixed numbers
of regions, by default all that the recipe allows, and every part by itself: nothing depends on the
values, so a detector on the meta device does, without memory or arithmetic.

R regions, P detections, C channels of the pyramid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from heads import box_head, mask_head
from heads.mask_rcnn import MaskRCNN, canvas


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates of one image: backbone with pyramid, RPN, box heads, mask head.

    `padded` is the height and width that the backbone sees.
    """

    backbone: int
    rpn: int
    box_head: int
    mask_head: int
    padded: tuple[int, int]
    regions: int
    detections: int

    @property
    def total(self) -> int:
        """All parts, with the masks of `detections`."""
        return self.without_detections + self.mask_head

    @property
    def without_detections(self) -> int:
        """All parts of an image in which nothing is found."""
        return self.backbone + self.rpn + self.box_head

    @property
    def parts(self) -> dict[str, int]:
        """Each part by its name."""
        return {
            "backbone": self.backbone,
            "rpn": self.rpn,
            "box_head": self.box_head,
            "mask_head": self.mask_head,
        }


@torch.no_grad()
def count_macs(
    detector: MaskRCNN,
    size: tuple[int, int],
    regions: int | None = None,
    detections: int | None = None,
) -> Macs:
    """Count one image of `size` (height, width) before padding; leaves evaluation mode on."""
    detector.eval()
    options = detector.roi_heads.options
    regions = options.rpn_post_nms_test if regions is None else regions
    detections = options.detections if detections is None else detections
    padded = canvas([size], detector.backbone.padding)
    zeros = detector.pixel_mean.new_zeros
    image = zeros(1, 3, *padded)
    sizes = torch.tensor([size], device=image.device)
    channels = detector.backbone.levels[0].channels
    maps: list[Tensor] = []
    pooled = zeros(regions, channels, box_head.POOL, box_head.POOL)
    masks = zeros(detections, channels, mask_head.POOL, mask_head.POOL)
    heads = detector.roi_heads
    return Macs(
        backbone=counted(lambda: maps.extend(detector.maps(image, sizes))),
        rpn=counted(lambda: detector.rpn.predict(maps)),
        box_head=sum(counted(stage, pooled) for stage in box_stages(heads)),
        mask_head=counted(heads.mask_head, masks) if heads.mask_head is not None else 0,
        padded=padded,
        regions=regions,
        detections=detections,
    )


def counted(run: Callable[..., object], *inputs: Tensor) -> int:
    """Multiply-accumulates of one call."""
    with FlopCounterMode(display=False) as counter:
        run(*inputs)
    return int(counter.get_total_flops()) // 2


def box_stages(heads: nn.Module) -> list[nn.Module]:
    """The box heads with their predictors: one, or those of a cascade. (R, C, 7, 7) each."""
    head, predictor = heads.get_submodule("box_head"), heads.get_submodule("box_predictor")
    if isinstance(head, nn.ModuleList) and isinstance(predictor, nn.ModuleList):
        return [nn.Sequential(*pair) for pair in zip(head, predictor, strict=True)]
    return [nn.Sequential(head, predictor)]
