"""Names and shapes of the released detectors' head parameters against ours, at full size."""

import json
import os
from pathlib import Path

import pytest
import torch

from backbones.key_maps.rename import KeyMap, rename
from heads.key_maps import DETECTRON2_HEAD
from heads.options import HeadOptions
from heads.roi_heads import RoIHeads
from heads.rpn import RPN

BESIDE = Path(__file__).resolve().parents[3] / "shared/golden"
SHAPES = Path(os.environ.get("MIMDET_GOLDEN", BESIDE)) / "mimdet_vitdet"
SHAPES /= "official_state_dict_shapes.json"
STRIDES = (4, 8, 16, 32, 64)


@pytest.mark.parametrize(
    ("name", "norm"),
    [("mimdet_base", "bn"), ("mimdet_large", "bn"), ("li2021_b", "bn"), ("vitdet_b", "ln")],
)
def test_every_official_head_key_fits_our_full_size_head(name, norm):
    if not SHAPES.exists():
        pytest.skip("the whole golden set is not here; MIMDET_GOLDEN names its folder")
    official = {
        key: torch.empty(shape, device="meta")
        for key, shape in json.loads(SHAPES.read_text())[name].items()
        if not key.startswith("backbone.")
    }
    renamed = rename(official, KeyMap(DETECTRON2_HEAD))
    assert not renamed.unknown
    options = HeadOptions(norm=norm)
    with torch.device("meta"):
        parts = {
            "rpn": RPN(256, STRIDES, options),
            "roi_heads": RoIHeads(256, STRIDES[:4], 80, options),
        }
    ours = {
        f"{part}.{key}": value.shape
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }
    assert len(ours) >= 40
    assert {key: value.shape for key, value in renamed.kept.items()} == ours
