"""Multiply-accumulates of real forward passes, against the counter that never computes.

`mimdet profile` counts part by part on the meta device. Here the whole detector runs, with as many
proposals and detections as it may have: suppression is off and every score passes.
"""

import pytest
import torch
from detectors import detector_of
from torch.utils.flop_counter import FlopCounterMode
from zoo import SMALL_HEAD

from mimdet_cli.measure.flops import count_macs

FULL = ("head.rpn_nms=1.0", "head.nms=1.0", "head.score=0.0", "init.weights=null")


def really(name, height, width, *sets):
    """The detector of a recipe, and the multiply-accumulates of one image through it."""
    detector = detector_of(name, *FULL, *sets, classes=80).eval()
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        (found,) = detector([image])
    return detector, len(found.boxes), counter.get_total_flops() / 2


@pytest.mark.parametrize("name", ["demo", "vitdet_base_cascade_100ep", "vit_adapter_small_1x"])
def test_parts_counted_without_computing_are_what_a_forward_pass_computes(name):
    small = [f"head.{key}={value}" for key, value in SMALL_HEAD.items()]
    shallow = ["backbone.depth=4", "backbone.width=96", "backbone.heads=6"]
    square = ["data.eval_max_side=128", "data.jitter.size=128", "backbone.square=128",
              "backbone.image_size=128", "backbone.window=4"]  # fmt: skip
    sets = [*small, *shallow, *(square if name.startswith("vitdet") else [])]
    detector, detections, macs = really(name, 96, 128, *sets, "head.rpn_post_nms_test=60")
    assert detections == 100
    counted = count_macs(detector, (96, 128), regions=60, detections=100)
    assert macs == counted.total


@pytest.mark.slow
@pytest.mark.parametrize(("name", "giga"), [("base_50pct", 939), ("large_50pct", 2057)])
def test_mimdet_at_full_size_costs_what_the_official_code_costs(name, giga):
    _, detections, macs = really(name, 800, 1088)
    assert detections == 100
    assert macs / 1e9 == pytest.approx(giga, rel=0.01)
