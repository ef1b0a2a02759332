"""Scaled boxes and pasted masks against detectron2's own post-processing.

One small cut is committed; the other stored cases are checked where `MIMDET_GOLDEN` (or
`shared/golden` beside the checkout) holds them. Boxes are one float32 product: 1e-4 px. Masks may
differ by 10 pixels, where the interpolated probability is 0.5 to the last bit.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import from_numpy

from heads.instances import Detections
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.evaluation.paste import to_result

HERE = Path(__file__).resolve()
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", HERE.parents[3] / "shared/golden")) / "mimdet_vitdet"
FIXTURE = HERE.parent / "fixtures" / "paste_convfeat.safetensors"


def check(tensors, packed):
    differing = []
    for image in range(len(tensors["in.image_sizes"])):
        of = f"det_{image}."
        detections = Detections(
            boxes=from_numpy(tensors[of + "boxes"]),
            scores=from_numpy(tensors[of + "scores"]),
            labels=from_numpy(tensors[of + "classes"]),
            masks=from_numpy(tensors[of + "mask_probs"][:, 0]),
        )
        height, width = tensors["in.output_sizes"][image].tolist()
        result = to_result(
            detections, image, tuple(tensors["in.image_sizes"][image].tolist()), (height, width)
        )
        assert np.abs(result.boxes - tensors[f"post_{image}.boxes"]).max() <= 1e-4
        assert (result.labels == tensors[f"post_{image}.classes"]).all()
        assert (result.scores == tensors[f"post_{image}.scores"]).all()
        stored = tensors[f"post_{image}.masks"]
        if packed:
            stored = np.unpackbits(stored, count=len(result) * height * width)
        stored = stored.reshape(len(result), height, width).astype(bool)
        pasted = np.stack([to_bitmap(rle) for rle in result.rles])
        assert stored.any(axis=(1, 2)).all()
        differing += (pasted != stored).sum(axis=(1, 2)).tolist()
    assert len(differing) == 24
    assert max(differing) <= 10


def test_boxes_and_masks_of_the_original_image_equal_detectron2():
    with safe_open(FIXTURE, "np") as file:
        assert set(file.metadata()) == {"source", "sha256"}
    check(load_file(FIXTURE), packed=True)


@pytest.mark.parametrize("name", ["mimdet_convfeat", "vitdet"])
def test_every_stored_case_equals_detectron2(name):
    path = GOLDEN / f"{name}.det_eval.safetensors"
    if not path.exists():
        pytest.skip(f"no golden numbers at {GOLDEN}; set MIMDET_GOLDEN")
    check(load_file(path), packed=False)
