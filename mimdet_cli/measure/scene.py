"""A synthetic training sample, for measurements that do not depend on its content."""

import numpy as np
import torch

from heads.instances import Target
from mimdet_cli.data.mask_shapes import Polygons
from mimdet_cli.data.masks import InstanceMasks
from mimdet_cli.data.sample import Sample

INSTANCES = 7  # the mean of COCO's training images


def scene(size: tuple[int, int], classes: int, seed: int = 0) -> Sample:
    """Noise of `size` (height, width), with rectangles of an eighth to a half of its sides."""
    rng = np.random.default_rng(seed)
    limits = np.array([size[1], size[0]], dtype=np.float64)  # x, y
    sides = rng.uniform(1 / 8, 1 / 2, (INSTANCES, 2)) * limits
    corners = rng.uniform(0, 1, (INSTANCES, 2)) * (limits - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)  # (n, 4)
    outlines = [boxes[i][[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for i in range(INSTANCES)]
    target = Target(
        boxes=torch.from_numpy(boxes).float(),
        labels=torch.from_numpy(rng.integers(classes, size=INSTANCES)),
        masks=InstanceMasks(tuple(Polygons((ring,)) for ring in outlines), *size),
    )
    pixels = rng.integers(0, 256, (3, *size), dtype=np.uint8)
    return Sample(torch.from_numpy(pixels), image_id=0, original_size=size, target=target)
