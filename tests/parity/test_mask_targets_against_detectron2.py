"""Mask targets of the mask loss against detectron2's, drawn from polygons by the same library.

The fixture holds, for two images of three training passes, the polygons, the boxes that the head
sampled and the 28 x 28 targets. They are bits: no tolerance.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from heads.instances import InstanceMasks, Polygons
from heads.mask_targets import rasterize

FIXTURE = Path(__file__).parent / "fixtures" / "mask_targets.safetensors"
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
CASES = [
    (run, image) for run in ("mimdet_convfeat", "mimdet_masktoken", "vitdet") for image in (0, 1)
]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(FIXTURE)


@pytest.mark.parametrize(("run", "image"), CASES)
def test_targets_equal_detectron2_bit_for_bit(
    golden: dict[str, Tensor], run: str, image: int
) -> None:
    case = {k.removeprefix(f"{run}.{image}."): v for k, v in golden.items()}
    height, width = case["image_size"].tolist()
    rings = [polygon.double().view(-1, 2).numpy() for polygon in case["gt.polygons"]]
    masks = InstanceMasks(tuple(Polygons((ring,)) for ring in rings), height, width)
    matches = case["sampled_gt_boxes"][:, None] == case["gt.boxes"][None]
    index = matches.all(dim=2).int().argmax(dim=1)
    assert len(index) >= 3

    targets = rasterize(masks, index, case["target.boxes"], 28)

    assert torch.equal(targets, case["target.masks"].bool())
    assert 0.2 < targets.float().mean() < 0.8


def test_the_fixture_was_cut_from_the_golden_files() -> None:
    folder = GOLDEN / "mimdet_vitdet"
    if not folder.is_dir():
        pytest.skip("no golden numbers here: set MIMDET_GOLDEN")
    with safe_open(FIXTURE, "pt") as file:
        sources = json.loads(file.metadata()["sources"])
    assert len(sources) == 3
    for name, digest in sources.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
