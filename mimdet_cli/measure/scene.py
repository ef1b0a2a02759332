"""A synthetic training sample, for measurements that do not depend on its content."""

import numpy as np

from heads.instances import InstanceMasks, Polygons
from mimdet_cli.data.annotations import Annotations
from mimdet_cli.data.batch import RawSample

INSTANCES = 7  # the mean of COCO's training images


def scene(size: tuple[int, int], classes: int, seed: int = 0) -> RawSample:
    """Noise of `size` (height, width), with rectangles of an eighth to a half of its sides."""
    rng = np.random.default_rng(seed)
    limits = np.array([size[1], size[0]], dtype=np.float64)  # x, y
    sides = rng.uniform(1 / 8, 1 / 2, (INSTANCES, 2)) * limits
    corners = rng.uniform(0, 1, (INSTANCES, 2)) * (limits - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)  # (n, 4)
    outlines = [boxes[i][[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for i in range(INSTANCES)]
    annotations = Annotations(
        boxes=boxes,
        labels=rng.integers(classes, size=INSTANCES),
        masks=InstanceMasks(tuple(Polygons((ring,)) for ring in outlines), *size),
    )
    pixels = rng.integers(0, 256, (3, *size), dtype=np.uint8)
    return RawSample(pixels.transpose(1, 2, 0), 0, size, annotations)  # (3, h, w) -> (h, w, 3)
