"""The head against detectron2, on maps, weights and random samples stored from its own run.

Two small cuts are committed; the whole set is checked where `MIMDET_GOLDEN` (or `shared/golden`
beside the checkout) holds it. Tolerances, all for fp32 sums in another order: features and logits
2e-4 of the largest value, boxes 0.02 px, scores 1e-3, losses 1e-4, gradients 5e-3 in the L2 norm.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from detectors import detector_on
from golden import close
from safetensors import safe_open
from torch import Tensor

from backbones.contract import Backbone, Level, Padding
from backbones.key_maps.rename import KeyMap, rename
from backbones.options.base import BackboneOptions
from heads.box_head import best_of_image, decode
from heads.instances import InstanceMasks, Polygons, Target
from heads.key_maps import DETECTRON2_HEAD
from heads.mask_head import SIZE, of_class
from heads.mask_rcnn import MaskRCNN
from heads.mask_targets import mask_targets
from heads.options import HeadOptions
from heads.pooling import to_rois
from heads.roi_sampling import RegionSample, sample_regions
from heads.rpn import AnchorSample, sample_anchors

HERE = Path(__file__).resolve()
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", HERE.parents[3] / "shared/golden")) / "mimdet_vitdet"
LEVELS = ("p2", "p3", "p4", "p5")
HEAD = ("proposal_generator.", "roi_heads.")
Tensors = dict[str, Tensor]


class StoredMaps(Backbone):
    """A backbone without parameters that returns what it was given."""

    levels = tuple(Level(name, 32, 4 << i) for i, name in enumerate(LEVELS))
    depth = 0

    def __init__(self, maps: Tensors, padding: Padding) -> None:
        super().__init__(BackboneOptions())
        self.stored = maps
        self.padding = padding

    def forward(self, images, sizes):
        height, width = self.stored["p2"].shape[2:]
        assert images.shape[2:] == (4 * height, 4 * width)
        return self.stored

    def depth_of(self, name):
        return 0


@dataclass
class Case:
    """Everything stored about one run of detectron2."""

    run: Tensors
    weights: Tensors
    grads: Tensors
    norm: str
    padding: Padding

    @property
    def targets(self) -> list[Target]:
        return [
            Target(*(self.run[f"gt_{i}.{key}"] for key in ("boxes", "classes")), self.masks(i))
            for i in range(2)
        ]

    def masks(self, image: int) -> InstanceMasks:
        stored = self.run[f"gt_{image}.polygons"].double().numpy()
        size = self.run["in.image_sizes"][image].tolist()
        return InstanceMasks(tuple(Polygons((p.reshape(-1, 2),)) for p in stored), *size)

    def model(self) -> MaskRCNN:
        """Our detector with the stored weights, on the stored maps."""
        options = HeadOptions(
            norm=self.norm,
            channels=32,
            fc_channels=64,
            rpn_batch=64,
            rpn_pre_nms_train=300,
            rpn_pre_nms_test=200,
            rpn_post_nms_train=150,
            rpn_post_nms_test=100,
            roi_batch=64,
            detections=12,
        )
        maps = {name: self.run[f"fpn.{name}"] for name in LEVELS if f"fpn.{name}" in self.run}
        model = detector_on(StoredMaps(maps, self.padding), 5, options)
        renamed = rename(self.weights, KeyMap(DETECTRON2_HEAD))
        assert not renamed.unknown
        parts = {key.split(".")[0] for key in renamed.kept}
        for part in parts:
            state = {
                k.removeprefix(f"{part}."): v for k, v in renamed.kept.items() if k.startswith(part)
            }
            getattr(model, part).load_state_dict(state, strict=True)
        return model

    def region_sample(self) -> RegionSample:
        """Detectron2's own random regions."""
        boxes = [self.run[f"sampled_{i}.gt_boxes"] for i in range(2)]
        instances = [
            (boxes[i][:, None] - self.run[f"gt_{i}.boxes"]).abs().sum(dim=2).argmin(dim=1)
            for i in range(2)
        ]
        return RegionSample(
            to_rois([self.run[f"sampled_{i}.boxes"] for i in range(2)]),
            torch.cat([self.run[f"sampled_{i}.classes"] for i in range(2)]),
            torch.cat(boxes),
            torch.cat(instances),
        )

    def anchor_sample(self) -> AnchorSample:
        """Detectron2's own random anchors."""
        labels = self.run["rpn.sampled_labels"].flatten()
        return AnchorSample(
            torch.where(labels == 1)[0],
            torch.where(labels == 0)[0],
            torch.cat([self.run[f"rpn.pos_gt_boxes_{i}"] for i in range(2)]),
        )


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in sorted(file.keys())}, file.metadata()


def committed(name: str) -> Case:
    tensors, metadata = read(HERE.parent / "fixtures" / f"{name}.safetensors")
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if "weights." in k}
    grads = {k.removeprefix("grads."): v for k, v in tensors.items() if "grads." in k}
    run = {k: v for k, v in tensors.items() if not k.startswith(("weights.", "grads."))}
    return as_case(run, weights, grads, "vitdet" in " ".join(metadata))


def whole(model: str, run: str) -> Case:
    if not GOLDEN.is_dir():
        pytest.skip("the whole golden set is not here; MIMDET_GOLDEN names its folder")
    weights, _ = read(GOLDEN / f"{model}.weights.safetensors")
    path = GOLDEN / f"{model}.{run}_grads.safetensors"
    grads = read(path)[0] if path.exists() else {}
    return as_case(
        read(GOLDEN / f"{model}.{run}.safetensors")[0],
        {k: v for k, v in weights.items() if k.startswith(HEAD)},
        {k: v for k, v in grads.items() if k.startswith(HEAD)},
        model == "vitdet",
    )


def as_case(run: Tensors, weights: Tensors, grads: Tensors, vitdet: bool) -> Case:
    padding = Padding(square=352) if vitdet else Padding(multiple=32)
    return Case(run, weights, grads, "ln" if vitdet else "bn", padding)


TRAINING = {
    "cut of mimdet_convfeat": lambda: committed("head_train_bn"),
    "whole mimdet_convfeat": lambda: whole("mimdet_convfeat", "det_train"),
    "whole mimdet_masktoken": lambda: whole("mimdet_masktoken", "det_train"),
    "whole vitdet": lambda: whole("vitdet", "det_train"),
}
DETECTING = {
    "cut of vitdet": lambda: committed("head_detect_ln"),
    "whole mimdet_convfeat": lambda: whole("mimdet_convfeat", "det_eval"),
    "whole vitdet": lambda: whole("vitdet", "det_eval"),
}
WHOLE_DETECTING = {name: make for name, make in DETECTING.items() if name.startswith("whole")}


def over(cases: dict[str, Callable[[], Case]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", cases.values(), ids=cases.keys())


@over(TRAINING)
def test_training_proposals_equal_detectron2s(make):
    case = make()
    model = case.model().train()
    sizes = case.run["in.image_sizes"]
    maps = model.maps(torch.zeros(2, 3, *canvas_of(case)), sizes)
    if "fpn.p6" in case.run:
        assert torch.equal(maps[-1], case.run["fpn.p6"])
    proposals, losses = model.rpn(maps, sizes)
    assert losses == {}
    for i, found in enumerate(proposals):
        close(found.logits, case.run[f"proposals_{i}.logits"])
        assert (found.boxes - case.run[f"proposals_{i}.boxes"]).abs().max() <= 0.02


@over(TRAINING)
def test_anchor_labels_agree_with_detectron2s_sample(make):
    case = make()
    model = case.model()
    anchors = torch.cat(model.rpn.anchors(grids_of(case)))
    theirs = case.run["rpn.sampled_labels"]
    assert theirs.shape == (2, len(anchors))
    # A sample of every anchor is no random draw: it holds all positives up to the half.
    ours = sample_anchors(anchors, [t.boxes for t in case.targets], 2 * len(anchors))
    labels = torch.full((theirs.numel(),), -1)
    labels[ours.positive], labels[ours.negative] = 1, 0
    assert torch.equal(
        labels[theirs.flatten() >= 0], theirs.flatten()[theirs.flatten() >= 0].long()
    )
    boxes = dict(zip(ours.positive.tolist(), ours.boxes, strict=True))
    for i in range(2):
        index = case.run[f"rpn.pos_idx_{i}"] + i * len(anchors)
        picked = torch.stack([boxes[n] for n in index.tolist()])
        assert torch.equal(picked, case.run[f"rpn.pos_gt_boxes_{i}"])
    drawn = sample_anchors(anchors, [t.boxes for t in case.targets], 64)
    assert len(drawn.positive) == (theirs == 1).sum()
    assert len(drawn.negative) == (theirs == 0).sum()


@over(TRAINING)
def test_region_labels_agree_with_detectron2s_sample(make):
    case = make()
    proposals = [case.run[f"proposals_{i}.boxes"] for i in range(2)]
    everything = sample_regions(proposals, case.targets, 4 * 153, classes=5)
    theirs = case.region_sample()
    assert len(everything.rois) == 2 * 153  # 150 proposals and 3 ground-truth boxes each
    distance = (theirs.rois[:, None] - everything.rois).abs().sum(dim=2)
    assert distance.min(dim=1).values.max() == 0
    partner = distance.argmin(dim=1)
    assert torch.equal(everything.labels[partner], theirs.labels)
    foreground = theirs.labels < 5
    assert torch.equal(everything.boxes[partner][foreground], theirs.boxes[foreground])
    drawn = sample_regions(proposals, case.targets, 64, classes=5)
    assert (drawn.labels < 5).sum() == foreground.sum()
    assert len(drawn.labels) == len(theirs.labels)


@over(TRAINING)
def test_mask_targets_equal_detectron2s(make):
    case = make()
    sample = case.region_sample()
    masks = mask_targets(sample.select(sample.labels < 5), case.targets, SIZE)
    theirs = torch.cat([case.run[f"mask_target_{i}.masks"] for i in range(2)])
    assert torch.equal(masks, theirs.bool())


@over(TRAINING)
def test_five_losses_gradients_and_running_statistics_equal_detectron2s(make):
    case = make()
    model = case.model().train()
    losses = losses_of(model, case)
    names = {
        "rpn_objectness": "loss_rpn_cls",
        "rpn_box": "loss_rpn_loc",
        "box_class": "loss_cls",
        "box_regression": "loss_box_reg",
        "mask": "loss_mask",
    }
    assert losses.keys() == names.keys()
    for ours, theirs in names.items():
        assert losses[ours].item() == pytest.approx(case.run[f"loss.{theirs}"].item(), rel=1e-4)
    sum(losses.values()).backward()
    check_gradients(model, case)
    after = {k.removeprefix("after."): v for k, v in case.run.items() if "after.roi_heads" in k}
    assert len(after) == (16 if case.norm == "bn" else 0)
    state = model.state_dict()
    for key, value in rename(after, KeyMap(DETECTRON2_HEAD)).kept.items():
        close(state[key], value)


def losses_of(model: MaskRCNN, case: Case) -> Tensors:
    sizes = case.run["in.image_sizes"]
    maps = model.maps(torch.zeros(2, 3, *canvas_of(case)), sizes)
    logits, deltas = model.rpn.predict(maps)
    anchors = model.rpn.anchors(grids_of(case))
    losses = model.rpn.losses(logits, deltas, anchors, case.anchor_sample())
    return losses | model.roi_heads.losses(maps[:-1], case.region_sample(), case.targets)


def check_gradients(model: MaskRCNN, case: Case) -> None:
    theirs = rename(case.grads, KeyMap(DETECTRON2_HEAD)).kept
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name in theirs:
            error = (parameter.grad - theirs[name]).norm()
            assert error <= 5e-3 * theirs[name].norm() + 1e-4, name


def canvas_of(case: Case) -> tuple[int, int]:
    height, width = case.run["fpn.p2"].shape[2:]
    return 4 * height, 4 * width


def grids_of(case: Case) -> list[tuple[int, int]]:
    grids = [tuple(case.run[f"fpn.{name}"].shape[2:]) for name in LEVELS]
    height, width = grids[-1]
    return [*grids, (-(-height // 2), -(-width // 2))]


@over(DETECTING)
def test_box_and_mask_head_equal_detectron2s_after_pooling(make):
    case = make()
    heads = case.model().eval().roi_heads
    with torch.no_grad():
        features = heads.box_head(case.run["box.pooled_first8"])
        logits, deltas = heads.box_predictor(features)
        masks = heads.mask_head(case.run["mask.pooled_first8"])
    close(features, case.run["box.feat"][:8])
    close(logits, case.run["box.cls_logits"][:8])
    close(deltas.flatten(1), case.run["box.deltas"][:8])
    close(masks, case.run["mask.logits"][: len(masks)])


@over(DETECTING)
def test_detections_follow_from_logits_as_in_detectron2(make):
    case = make()
    options = case.model().roi_heads.options
    proposals = [case.run[f"proposals_{i}.boxes"] for i in range(2)]
    probabilities = case.run["box.cls_logits"].softmax(dim=1).split(100)
    deltas = case.run["box.deltas"].unflatten(1, (5, 4))
    decoded = decode(deltas, to_rois(proposals), case.run["in.image_sizes"]).split(100)
    for i in range(2):
        boxes, scores, labels = best_of_image(probabilities[i], decoded[i], options)
        assert torch.equal(labels, case.run[f"det_{i}.classes"])
        close(scores, case.run[f"det_{i}.scores"], 1e-3)
        assert (boxes - case.run[f"det_{i}.boxes"]).abs().max() <= 0.02
    labels = torch.cat([case.run[f"det_{i}.classes"] for i in range(2)])
    masks = of_class(case.run["mask.logits"], labels[: len(case.run["mask.logits"])]).sigmoid()
    theirs = torch.cat([case.run[f"det_{i}.mask_probs"] for i in range(2)])[: len(masks), 0]
    close(masks, theirs)


@over(WHOLE_DETECTING)
def test_every_stage_of_evaluation_equals_detectron2s(make):
    case = make()
    model = case.model().eval()
    images = [case.run["in.image_0"], case.run["in.image_1"]]
    with torch.no_grad():
        batch, sizes = model.prepare(images)
        assert batch.shape[2:] == tuple(case.run["in.padded_hw"])
        assert torch.equal(sizes, case.run["in.image_sizes"])
        maps = model.maps(batch, sizes)
        logits, deltas = model.rpn.predict(maps)
        proposals, _ = model.rpn(maps, sizes)
        rois = to_rois([case.run[f"proposals_{i}.boxes"] for i in range(2)])
        box_regions = model.roi_heads.pool(maps[:-1], rois, 7)
        box_logits, box_deltas = model.roi_heads.predict_boxes(maps[:-1], rois)
        detected = to_rois([case.run[f"det_{i}.boxes"] for i in range(2)])
        mask_regions = model.roi_heads.pool(maps[:-1], detected, 14)
        found = model(images)
    anchors = model.rpn.anchors(grids_of(case))
    for i, name in enumerate((*LEVELS, "p6")):
        assert (anchors[i] - case.run[f"rpn.anchors.{name}"]).abs().max() <= 1e-4
        close(logits[i], flat(case.run[f"rpn.objectness.{name}"], 1)[..., 0])
        close(deltas[i], flat(case.run[f"rpn.deltas.{name}"], 4))
    close(box_regions[:8], case.run["box.pooled_first8"])
    close(box_logits, case.run["box.cls_logits"])
    close(box_deltas.flatten(1), case.run["box.deltas"])
    close(mask_regions[:8], case.run["mask.pooled_first8"])
    for i in range(2):
        close(proposals[i].logits, case.run[f"proposals_{i}.logits"])
        assert (proposals[i].boxes - case.run[f"proposals_{i}.boxes"]).abs().max() <= 0.02
        assert torch.equal(found[i].labels, case.run[f"det_{i}.classes"])
        assert (found[i].boxes - case.run[f"det_{i}.boxes"]).abs().max() <= 0.02
        close(found[i].scores, case.run[f"det_{i}.scores"], 1e-3)
        close(found[i].masks, case.run[f"det_{i}.mask_probs"][:, 0], 1e-3)


def flat(maps: Tensor, values: int) -> Tensor:
    """(B, a * values, h, w) to (B, h * w * a, values), written out the slow way."""
    batch, channels, height, width = maps.shape
    out = maps.reshape(batch, channels // values, values, height * width)
    return out.permute(0, 3, 1, 2).reshape(batch, -1, values)
