"""Region proposal network: where could an object be?

Papers: Ren et al., "Faster R-CNN" (arXiv:1506.01497), section 3.1; two convolutions instead of
one after Li et al., "Benchmarking Detection Transfer Learning" (arXiv:2111.11429).

Built from torchvision's box coder, matcher and sampler. Differs from its `RegionProposalNetwork`,
as detectron2 and mmdet do: no smooth L1; proposals are ranked by logit, none is dropped for a low
score, and only boxes without area are dropped for their size. What those two disagree on is in
`rules`.

B images, A anchors of all levels, P sampled positives, K proposals before suppression.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, Matcher
from torchvision.ops import batched_nms

from heads.anchors import Anchors
from heads.box_loss import BOX_LOSSES
from heads.boxes import Coder, clip, match
from heads.conv import init_normal
from heads.instances import Target
from heads.options import HeadOptions
from heads.rules import DETECTRON2, RULES, Rules

WEIGHTS = (1.0, 1.0, 1.0, 1.0)
CODER = Coder(WEIGHTS)
CANVAS = 32  # mmdet pads each image to a multiple of this before it pads the batch


@dataclass(frozen=True, slots=True)
class AnchorSample:
    """Anchors sampled for the losses, as indices into the flattened (B * A) anchors.

    `boxes` (P, 4) are the ground-truth boxes of the positive ones.
    """

    positive: Tensor
    negative: Tensor
    boxes: Tensor


@dataclass(frozen=True, slots=True)
class Proposals:
    """Proposals of one image, best first: boxes (n, 4) and objectness logits (n,)."""

    boxes: Tensor
    logits: Tensor


class RPN(nn.Module):
    """Proposals from the pyramid, and the two losses they are trained by."""

    def __init__(self, in_channels: int, strides: Sequence[int], options: HeadOptions) -> None:
        super().__init__()
        self.options = options
        self.rules = RULES[options.rules]
        self.coder = Coder(WEIGHTS, self.rules.limited_shrinking)
        self.anchors = Anchors(options.anchor_sizes, options.anchor_ratios, strides)
        widths = [in_channels, *[options.channels] * options.rpn_convs]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], options.channels, 3, padding=1) for i in range(options.rpn_convs)
        )
        self.objectness = nn.Conv2d(widths[-1], self.anchors.per_cell, 1)
        self.deltas = nn.Conv2d(widths[-1], 4 * self.anchors.per_cell, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                init_normal(layer, std=0.01)

    def forward(
        self, maps: Sequence[Tensor], sizes: Tensor, targets: Sequence[Target] | None = None
    ) -> tuple[list[Proposals], dict[str, Tensor]]:
        """Proposals of every image inside its `sizes` (B, 2); losses if there are targets."""
        logits, deltas = self.predict(maps)
        anchors = self.anchors([(m.shape[2], m.shape[3]) for m in maps])
        proposals = self.propose(logits, deltas, anchors, sizes)
        if targets is None:
            return proposals, {}
        sample = self.sample(torch.cat(anchors), targets, sizes)
        return proposals, self.losses(logits, deltas, anchors, sample)

    def sample(self, anchors: Tensor, targets: Sequence[Target], sizes: Tensor) -> AnchorSample:
        """Sample from `anchors` (A, 4) for images of `sizes` (B, 2)."""
        usable = on_canvas(anchors, sizes) if self.rules.own_canvas else None
        boxes = [target.boxes for target in targets]
        return sample_anchors(anchors, boxes, self.options.rpn_batch, self.rules, usable)

    def predict(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits (B, A_l) and deltas (B, A_l, 4) of each level, in the order of the anchors."""
        logits, deltas = [], []
        for features in maps:
            for conv in self.convs:
                features = F.relu(conv(features))  # (B, C, h, w)
            objectness = self.objectness(features).permute(0, 2, 3, 1)  # (B, h, w, a)
            boxes = self.deltas(features).permute(0, 2, 3, 1)  # (B, h, w, a * 4)
            logits.append(objectness.flatten(1).float())  # (B, h * w * a)
            deltas.append(boxes.flatten(1).unflatten(1, (-1, 4)).float())  # (B, h * w * a, 4)
        return logits, deltas

    @torch.no_grad()
    def propose(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        sizes: Tensor,
    ) -> list[Proposals]:
        """The best boxes of each image, at most `rpn_post_nms_*` of them."""
        use = self.options
        before = use.rpn_pre_nms_train if self.training else use.rpn_pre_nms_test
        after = use.rpn_post_nms_train if self.training else use.rpn_post_nms_test
        boxes, scores, levels = best_per_level(logits, deltas, anchors, before, self.coder)
        finite = boxes.isfinite().all(dim=2) & scores.isfinite()  # (B, K)
        if self.training and not finite.all():
            raise FloatingPointError("the region proposals are not finite: training has diverged")
        boxes = clip(boxes, sizes)
        usable = finite & (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
        return [
            _suppress(boxes[i][keep], scores[i][keep], levels[keep], use.rpn_nms, after)
            for i, keep in enumerate(usable)
        ]

    def losses(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        sample: AnchorSample,
    ) -> dict[str, Tensor]:
        """`rpn_objectness` and `rpn_box` of a sample."""
        objectness, box = rpn_losses(
            torch.cat(list(logits), dim=1),
            torch.cat(list(deltas), dim=1),
            torch.cat(list(anchors)),
            sample,
            self.options,
            self.rules,
        )
        return {"rpn_objectness": objectness, "rpn_box": box}


def best_per_level(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    count: int,
    coder: Coder = CODER,
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode the `count` best anchors of each level.

    Boxes (B, K, 4), their logits (B, K) and the index of their level (K,).
    """
    boxes, scores, levels = [], [], []
    for level, (logit, delta, anchor) in enumerate(zip(logits, deltas, anchors, strict=True)):
        best, index = logit.topk(min(count, logit.shape[1]), dim=1)  # (B, k)
        chosen = delta.gather(1, index[..., None].expand(-1, -1, 4))  # (B, k, 4)
        decoded = coder.decode(chosen.flatten(0, 1), anchor[index.flatten()])  # (B * k, 4)
        boxes.append(decoded.view_as(chosen))
        scores.append(best)
        levels.append(torch.full_like(index[0], level))
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1), torch.cat(levels)


def _suppress(
    boxes: Tensor, logits: Tensor, levels: Tensor, threshold: float, count: int
) -> Proposals:
    """Non-maximum suppression within each level, then the `count` best of all levels."""
    keep = batched_nms(boxes, logits, levels, threshold)[:count]
    return Proposals(boxes[keep], logits[keep])


def on_canvas(anchors: Tensor, sizes: Tensor) -> Tensor:
    """Which of `anchors` (A, 4) lie on each image of `sizes` (B, 2) and its own padding: (B, A).

    An anchor lies where the upper left corner of its cell does, its centre.
    """
    limits = (sizes / CANVAS).ceil().mul(CANVAS).flip(1)[:, None]  # (B, 1, 2): width, height
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2  # (A, 2), whole pixels but for rounding
    return (centres < limits - 0.5).all(dim=2)


@torch.no_grad()
def sample_anchors(
    anchors: Tensor,
    boxes: Sequence[Tensor],
    count: int,
    rules: Rules = DETECTRON2,
    usable: Tensor | None = None,
) -> AnchorSample:
    """Match `anchors` (A, 4) with each image's ground truth and sample `count` per image.

    Positive from an IoU of 0.7 or as the best of a ground-truth box (ties included), negative
    below 0.3; at most half of the sample is positive. Only `usable` (B, A) anchors take part.
    """
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=rules.rpn_min_pos_iou is None)
    sampler = BalancedPositiveNegativeSampler(count, 0.5)
    everywhere = torch.arange(len(anchors), device=anchors.device)
    positive, negative, matched = [], [], []
    for image, gt_boxes in enumerate(boxes):
        mine = everywhere if usable is None else torch.where(usable[image])[0]
        matches = match(matcher, gt_boxes, anchors[mine], rules.rpn_min_pos_iou)
        labels = (matches >= 0).long()
        labels[matches == Matcher.BETWEEN_THRESHOLDS] = -1
        chosen = [torch.where(mask[0])[0] for mask in sampler([labels])]
        positive.append(mine[chosen[0]] + image * len(anchors))
        negative.append(mine[chosen[1]] + image * len(anchors))
        matched.append(gt_boxes[matches[chosen[0]]])
    return AnchorSample(torch.cat(positive), torch.cat(negative), torch.cat(matched))


def rpn_losses(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    sample: AnchorSample,
    options: HeadOptions,
    rules: Rules = DETECTRON2,
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss of logits (B, A) and deltas (B, A, 4), divided by one number.

    That is `rpn_batch` * B, or with `mean_of_sampled` the size of the sample.
    """
    full = logits.shape[0] * options.rpn_batch
    size = _sampled(sample, logits) if rules.mean_of_sampled else full
    chosen = torch.cat((sample.positive, sample.negative))
    positive = torch.zeros(len(chosen), device=logits.device)
    positive[: len(sample.positive)] = 1
    objectness = F.binary_cross_entropy_with_logits(
        logits.flatten()[chosen], positive, reduction="sum"
    )
    box = BOX_LOSSES[options.rpn_box_loss](
        deltas.flatten(0, 1)[sample.positive],
        anchors[sample.positive % len(anchors)],
        sample.boxes,
        Coder(WEIGHTS, rules.limited_shrinking),
    )
    return objectness / size, box / size


def _sampled(sample: AnchorSample, logits: Tensor) -> Tensor:
    """Sampled anchors of logits (B, A), counting at least one positive and negative per image."""
    images, anchors = logits.shape
    counts = [
        torch.bincount(part // anchors, minlength=images)
        for part in (sample.positive, sample.negative)
    ]
    return torch.stack(counts).clamp(min=1).sum()
