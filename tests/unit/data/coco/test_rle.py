"""Run lengths against pycocotools."""

import numpy as np
from pycocotools import mask as coco_mask

from mimdet_cli.data.coco import rle


def test_run_lengths_agree_with_pycocotools_in_both_directions() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        height, width = (int(n) for n in rng.integers(1, 60, 2))
        mask = np.kron(rng.random((height, width)) < rng.random(), np.ones((3, 2))) > 0
        packed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        runs = rle.runs_of(packed["counts"], *mask.shape)
        assert (rle.decode(runs, *mask.shape) == mask).all()
        assert rle.area_of(runs) == mask.sum()
        assert (rle.encode(mask) == runs).all()
        assert (rle.runs_of(runs.tolist(), *mask.shape) == runs).all()
