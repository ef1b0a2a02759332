"""The size rule against 200 sizes of detectron2's ResizeShortestEdge: integers, all equal."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from mimdet_cli.data.transforms import resize_shape

FIXTURE = Path(__file__).parent / "fixtures" / "resize_shapes.json"
GOLDEN = Path(os.environ.get("MIMDET_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


def test_every_size_equals_detectron2() -> None:
    cases = json.loads(FIXTURE.read_text())["resize_shortest_edge"]
    assert len(cases) == 200
    for height, width, short, longest, new_height, new_width in cases:
        assert resize_shape(height, width, short, longest) == (new_height, new_width)


def test_the_fixture_was_cut_from_the_golden_file() -> None:
    source = GOLDEN / "mimdet_vitdet" / "resize_shapes.json"
    if not source.is_file():
        pytest.skip("no golden numbers here: set MIMDET_GOLDEN")
    cut = json.loads(FIXTURE.read_text())
    assert hashlib.sha256(source.read_bytes()).hexdigest() == cut["sha256"]
    assert json.loads(source.read_text())["resize_shortest_edge"] == cut["resize_shortest_edge"]
