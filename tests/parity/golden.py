"""Where the frozen numbers are, and how a stored detectron2 training step is replayed on ours."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from heads.instances import InstanceMasks, Polygons, Target
from heads.mask_rcnn import MaskRCNN
from heads.pooling import to_rois
from heads.roi_sampling import RegionSample
from heads.rpn import AnchorSample

HERE = Path(__file__).resolve().parent
FIXTURES = HERE / "fixtures"
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", HERE.parents[2] / "shared/golden"))
PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LOSSES = {
    "rpn_objectness": "loss_rpn_cls",
    "rpn_box": "loss_rpn_loc",
    "box_class": "loss_cls",
    "box_regression": "loss_box_reg",
    "mask": "loss_mask",
}
Tensors = dict[str, Tensor]


def read(path: Path) -> Tensors:
    """All tensors of a file."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in sorted(file.keys())}


def metadata(path: Path) -> dict[str, str]:
    """What the file says of itself."""
    with safe_open(path, "pt") as file:
        return file.metadata()


def whole(name: str) -> Path:
    """A file of the whole set, `FOLDER/NAME`; the test is skipped where the set is not."""
    if not GOLDEN.is_dir():
        pytest.skip("the whole golden set is not here; MIMDET_GOLDEN names its folder")
    return GOLDEN / name


def table(name: str) -> Any:
    """A JSON file of the whole set."""
    return json.loads(whole(name).read_text())


def close(ours: Tensor, theirs: Tensor, share: float = 2e-4) -> None:
    """Within `share` of the largest value: fp32 sums in another order."""
    assert ours.shape == theirs.shape
    limit = share * max(1.0, theirs.abs().max().item())
    assert (ours - theirs).abs().max().item() <= limit


def images(run: Tensors) -> list[Tensor]:
    """The uint8 images of a stored case."""
    return [run[key] for key in sorted(run) if key.startswith("in.image_") and run[key].ndim == 3]


def targets(run: Tensors) -> list[Target]:
    """The stored ground truth, its polygons through our own mask code."""
    found = []
    for i, image in enumerate(images(run)):
        shapes = tuple(
            Polygons((points.double().numpy().reshape(-1, 2),))
            for points in run[f"gt_{i}.polygons"]
        )
        masks = InstanceMasks(shapes, *image.shape[1:])
        found.append(Target(run[f"gt_{i}.boxes"], run[f"gt_{i}.classes"], masks))
    return found


def anchor_sample(run: Tensors) -> AnchorSample:
    """The anchors that detectron2 drew."""
    labels = run["rpn.sampled_labels"].flatten()
    return AnchorSample(
        torch.where(labels == 1)[0],
        torch.where(labels == 0)[0],
        torch.cat([run[f"rpn.pos_gt_boxes_{i}"] for i in range(2)]),
    )


def region_sample(run: Tensors) -> RegionSample:
    """The regions that detectron2 drew."""
    boxes = [run[f"sampled_{i}.gt_boxes"] for i in range(2)]
    matched = [
        (boxes[i][:, None] - run[f"gt_{i}.boxes"]).abs().sum(dim=2).argmin(dim=1) for i in range(2)
    ]
    return RegionSample(
        to_rois([run[f"sampled_{i}.boxes"] for i in range(2)]),
        torch.cat([run[f"sampled_{i}.classes"] for i in range(2)]),
        torch.cat(boxes),
        torch.cat(matched),
    )


def replay(model: MaskRCNN, run: Tensors) -> Tensors:
    """The five losses of a stored training step, through our whole detector."""
    batch, sizes = model.prepare(images(run))
    maps = model.maps(batch, sizes)
    logits, deltas = model.rpn.predict(maps)
    anchors = model.rpn.anchors([(x.shape[-2], x.shape[-1]) for x in maps])
    losses = model.rpn.losses(logits, deltas, anchors, anchor_sample(run))
    return losses | model.roi_heads.losses(maps[:-1], region_sample(run), targets(run))


def check_gradients(ours: Tensors, theirs: Tensors) -> None:
    """Relative L2 error at most 5e-3 with a floor of 1e-4: kinks of ReLU and L1 cost 1e-3."""
    assert len(theirs) > 50
    for name, reference in theirs.items():
        error = (ours[name] - reference).norm()
        assert error <= 5e-3 * reference.norm() + 1e-4, name
