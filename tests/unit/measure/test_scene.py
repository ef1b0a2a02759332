"""The made-up image of a training step."""

import torch

from heads.mask_targets import rasterize
from mimdet_cli.data.batch import Batch
from mimdet_cli.measure.scene import INSTANCES, scene


def test_boxes_lie_inside_the_image_and_their_masks_fill_them():
    batch = Batch.of([scene((96, 128), classes=3)])
    (image,), (target,) = batch.images, batch.targets
    assert image.shape == (3, 96, 128)
    assert len(target.boxes) == INSTANCES
    assert (target.boxes >= 0).all()
    assert (target.boxes <= torch.tensor([128.0, 96, 128, 96])).all()
    assert (target.boxes[:, 2:] - target.boxes[:, :2] >= torch.tensor([16.0, 12])).all()
    assert set(target.labels.tolist()) <= {0, 1, 2}
    masks = rasterize(target.masks, torch.arange(INSTANCES), target.boxes, 28)
    assert masks.float().mean() > 0.95  # polygons are drawn with a soft edge


def test_scene_is_the_same_every_time():
    first, second = (Batch.of([scene((64, 64), 5)]) for _ in range(2))
    assert torch.equal(first.packed, second.packed)
