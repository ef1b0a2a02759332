"""Cascade of box heads: each stage refines the boxes of the one before, under a stricter match.

Paper: Cai and Vasconcelos, "Cascade R-CNN" (arXiv:1712.00726), section 4; with a mask head,
"Cascade R-CNN: High Quality Object Detection and Instance Segmentation" (arXiv:1906.09756),
section 5. The rules are those of detectron2's `CascadeROIHeads`, which ViTDet (arXiv:2203.16527)
uses: regions are sampled once, ground truth joins the first stage only, one mask head learns from
the first stage's sample and reads the last stage's boxes.

B images, R regions, K classes, S stages.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from heads import box_head
from heads.box_head import BoxHead, BoxPredictor, box_losses, decode
from heads.boxes import Coder
from heads.instances import Target
from heads.mask_head import MaskHead
from heads.options import HeadOptions
from heads.pooling import to_rois
from heads.roi_heads import Candidates, RegionHeads, by_image
from heads.roi_sampling import OVERLAP, RegionSample, label_regions

OVERLAPS = (OVERLAP, 0.6, 0.7)
CODERS = tuple(Coder((10.0 * s, 10.0 * s, 5.0 * s, 5.0 * s)) for s in (1, 2, 3))
STAGES = len(OVERLAPS)


class CascadeHeads(RegionHeads):
    """Detections from proposals by three box heads in a row; all classes share one box."""

    def __init__(
        self, in_channels: int, strides: Sequence[int], classes: int, options: HeadOptions
    ) -> None:
        super().__init__(strides, classes, options)
        width = options.fc_channels
        self.box_head = nn.ModuleList(BoxHead(in_channels, options) for _ in range(STAGES))
        self.box_predictor = nn.ModuleList(
            BoxPredictor(width, classes, boxes=1) for _ in range(STAGES)
        )
        self.mask_head = MaskHead(in_channels, classes, options) if options.mask else None

    def forward(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        targets: Sequence[Target],
        sizes: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a fresh sample of the proposals (n_i, 4) of images of `sizes` (B, 2)."""
        return self.losses(maps, self.sample(proposals, targets), targets, sizes)

    def losses(
        self,
        maps: Sequence[Tensor],
        sample: RegionSample,
        targets: Sequence[Target],
        sizes: Tensor,
    ) -> dict[str, Tensor]:
        """`box_class_0` to `_2`, `box_regression_0` to `_2` and, with a mask head, `mask`.

        `sample` is the first stage's; the others' follow from the boxes it becomes.
        """
        losses = {}
        current = sample
        for stage, coder in enumerate(CODERS):
            logits, deltas = self.predict_boxes(maps, current.rois, stage)
            classification, regression = box_losses(logits, deltas, current, self.options, coder)
            losses[f"box_class_{stage}"] = classification
            losses[f"box_regression_{stage}"] = regression
            if stage + 1 < STAGES:
                regions = refined(deltas, current.rois, sizes, coder)
                current = label_regions(regions, targets, OVERLAPS[stage + 1], self.classes)
        return losses | self.mask_losses(maps, sample, targets)

    def predict_boxes(
        self, maps: Sequence[Tensor], rois: Tensor, stage: int
    ) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1), background last, and deltas (R, 1, 4) of regions (R, 5)."""
        pooled = self.pool(maps, rois, box_head.POOL)
        if pooled.requires_grad:  # the stages' losses are added, but the maps learn from their mean
            pooled.register_hook(lambda gradient: gradient / STAGES)  # type: ignore[no-untyped-call]
        return self.box_predictor[stage](self.box_head[stage](pooled))

    def candidates(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> list[Candidates]:
        """Mean class probabilities over the stages, and the boxes of the last."""
        rois = to_rois(proposals)  # (R, 5)
        probabilities = []
        for stage, coder in enumerate(CODERS):
            logits, deltas = self.predict_boxes(maps, rois, stage)
            boxes = decode(deltas, rois, sizes, coder)  # (R, 1, 4)
            rois = moved(rois, boxes[:, 0])
            probabilities.append(logits.softmax(dim=1))
        return by_image(torch.stack(probabilities).mean(dim=0), boxes, proposals)


@torch.no_grad()
def refined(deltas: Tensor, rois: Tensor, sizes: Tensor, coder: Coder) -> list[Tensor]:
    """Boxes (m_i, 4) of each image for the next stage; those without area are left out."""
    boxes = decode(deltas, rois, sizes, coder)[:, 0]  # (R, 4)
    if not boxes.isfinite().all():
        raise FloatingPointError("the refined boxes are not finite: training has diverged")
    usable = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return [boxes[usable & (rois[:, 0] == image)] for image in range(len(sizes))]


def moved(rois: Tensor, boxes: Tensor) -> Tensor:
    """Regions (R, 5) at `boxes` (R, 4); one whose box is not finite stays where it is.

    None is dropped, since the scores of all stages are averaged region by region.
    """
    finite = boxes.isfinite().all(dim=1, keepdim=True)
    return torch.cat((rois[:, :1], torch.where(finite, boxes, rois[:, 1:])), dim=1)
