"""Box head: the class of a region and a better box for it.

Papers: Girshick, "Fast R-CNN" (arXiv:1504.08083), section 2; four convolutions before the linear
layer after Wu and He, "Group Normalization" (arXiv:1803.08494), section 4.2.

Differs from torchvision's `RoIHeads`, as detectron2 does: background is the last class, the box
loss is not smooth L1, no detection is dropped for being small, and all classes may share one box.

R regions, K classes, k boxes per region (K or 1), C channels, F width of the linear layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from heads.box_loss import BOX_LOSSES
from heads.boxes import Coder, clip
from heads.conv import conv_stack, init_normal
from heads.options import HeadOptions
from heads.roi_sampling import RegionSample
from heads.rules import RULES

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
CODER = Coder(WEIGHTS)
POOL = 7


class BoxHead(nn.Module):
    """Pooled regions to one feature vector each."""

    def __init__(self, in_channels: int, options: HeadOptions) -> None:
        super().__init__()
        convs, linears = (4, 1) if options.box_head == "4conv1fc" else (0, 2)
        self.convs = conv_stack(in_channels, options.channels, convs, options.norm)
        channels = options.channels if convs else in_channels
        widths = [channels * POOL * POOL, *[options.fc_channels] * linears]
        layers = [nn.Linear(widths[i], widths[i + 1]) for i in range(linears)]
        for layer in layers:
            if RULES[options.rules].xavier_linears:
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        self.fcs = nn.ModuleList(layers)

    def forward(self, regions: Tensor) -> Tensor:
        """Regions (R, C, 7, 7) to features (R, F)."""
        features = self.convs(regions).flatten(1)  # (R, C * 49)
        for layer in self.fcs:
            features = F.relu(layer(features))  # (R, F)
        return features


class BoxPredictor(nn.Module):
    """Class scores, and `boxes` boxes: one per class, or one for all."""

    def __init__(self, channels: int, classes: int, boxes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(channels, classes + 1)
        self.deltas = nn.Linear(channels, 4 * boxes)
        init_normal(self.scores, std=0.01)
        init_normal(self.deltas, std=0.001)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (R, F) to logits (R, K + 1), background last, and deltas (R, k, 4)."""
        deltas = self.deltas(features).unflatten(1, (-1, 4))  # (R, k, 4)
        return self.scores(features).float(), deltas.float()


def box_losses(
    logits: Tensor,
    deltas: Tensor,
    sample: RegionSample,
    options: HeadOptions,
    coder: Coder = CODER,
) -> tuple[Tensor, Tensor]:
    """Class and box loss of logits (R, K + 1) and deltas (R, k, 4), both divided by R."""
    size = max(len(sample.labels), 1)
    classification = F.cross_entropy(logits, sample.labels, reduction="sum") / size
    foreground = torch.where(sample.labels < logits.shape[1] - 1)[0]
    column = sample.labels[foreground].clamp(max=deltas.shape[1] - 1)
    regression = BOX_LOSSES[options.box_loss](
        deltas[foreground, column], sample.rois[foreground, 1:], sample.boxes[foreground], coder
    )
    return classification, regression / size


def decode(deltas: Tensor, rois: Tensor, sizes: Tensor, coder: Coder = CODER) -> Tensor:
    """Boxes (R, k, 4), clipped to their image, of deltas (R, k, 4) and regions (R, 5)."""
    return clip(coder.decode(deltas, rois[:, 1:]), sizes[rois[:, 0].long()])


def best_of_image(
    probabilities: Tensor, boxes: Tensor, options: HeadOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Detections of one image: boxes (n, 4), scores (n,) and labels (n,), best first.

    `probabilities` (r, K + 1) and `boxes` (r, k, 4) belong to its regions.
    """
    boxes = boxes.expand(-1, probabilities.shape[1] - 1, -1)  # (r, k, 4) -> (r, K, 4)
    finite = boxes.isfinite().all(dim=2)  # (r, K)
    region, label = torch.where((probabilities[:, :-1] > options.score) & finite)
    scores = probabilities[region, label]
    chosen = boxes[region, label]  # (m, 4)
    keep = batched_nms(chosen, scores, label, options.nms)[: options.detections]
    return chosen[keep], scores[keep], label[keep]
