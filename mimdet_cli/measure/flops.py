"""Multiply-accumulates of a detector's parts.

One multiply-add counts as one, as in both papers: MIMDet (arXiv:2204.02964, table 10) calls these
FLOPs, while tools that count multiplications and additions report twice as many. Convolutions and
matrix products count, including those in attention; norms, activations, interpolation, RoIAlign
and the sampling of deformable attention do not.

With random weights, the numbers of proposals and detections are arbitrary. The heads are therefore
counted separately on fixed numbers of regions, by default the recipe's maximum. Nothing depends on
values, so a detector on the meta device suffices, which takes no memory or compute.

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

    `padded` is the height and width of the backbone's input.
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
        """All parts, including the masks of `detections`."""
        return self.without_detections + self.mask_head

    @property
    def without_detections(self) -> int:
        """All parts of an image without detections."""
        return self.backbone + self.rpn + self.box_head

    @property
    def parts(self) -> dict[str, int]:
        """Multiply-accumulates by part."""
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
    """Count one image of `size` (height, width) before padding; switches to evaluation mode."""
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
        backbone=macs_of(lambda: maps.extend(detector.maps(image, sizes))),
        rpn=macs_of(lambda: detector.rpn.predict(maps)),
        box_head=sum(macs_of(stage, pooled) for stage in box_stages(heads)),
        mask_head=macs_of(heads.mask_head, masks) if heads.mask_head is not None else 0,
        padded=padded,
        regions=regions,
        detections=detections,
    )


def macs_of(run: Callable[..., object], *inputs: Tensor) -> int:
    """Multiply-accumulates of one call."""
    with FlopCounterMode(display=False) as counter:
        run(*inputs)
    return int(counter.get_total_flops()) // 2


def box_stages(heads: nn.Module) -> list[nn.Module]:
    """The box heads with their predictors, one or a cascade; each takes (R, C, 7, 7)."""
    head, predictor = heads.get_submodule("box_head"), heads.get_submodule("box_predictor")
    if isinstance(head, nn.ModuleList) and isinstance(predictor, nn.ModuleList):
        return [nn.Sequential(*pair) for pair in zip(head, predictor, strict=True)]
    return [nn.Sequential(head, predictor)]
