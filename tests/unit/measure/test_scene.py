"""The made-up image of a training step."""

import torch

from mimdet_cli.measure.scene import INSTANCES, scene


def test_boxes_lie_inside_the_image_and_their_masks_fill_them():
    sample = scene((96, 128), classes=3)
    target = sample.target
    assert target is not None
    assert target.masks is not None
    assert sample.image.shape == (3, 96, 128)
    assert len(target.boxes) == INSTANCES
    assert (target.boxes >= 0).all()
    assert (target.boxes <= torch.tensor([128.0, 96, 128, 96])).all()
    assert (target.boxes[:, 2:] - target.boxes[:, :2] >= torch.tensor([16.0, 12])).all()
    assert set(target.labels.tolist()) <= {0, 1, 2}
    masks = target.masks.rasterize(torch.arange(INSTANCES), target.boxes, 28)
    assert masks.float().mean() > 0.95  # polygons are drawn with a soft edge


def test_scene_is_the_same_every_time():
    first, second = scene((64, 64), 5), scene((64, 64), 5)
    assert torch.equal(first.image, second.image)
    assert first.target is not None
    assert second.target is not None
    assert torch.equal(first.target.boxes, second.target.boxes)
