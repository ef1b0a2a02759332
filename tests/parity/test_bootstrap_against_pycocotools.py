"""AP from stored matches against pycocotools' published example, to the last digit.

No tolerance: the same divisions are made in the same order. The example is read where
`MIMDET_DATA` (or `shared/data` beside the checkout) holds it.
"""

import json
import os
from pathlib import Path

import pytest

from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.evaluation.bootstrap import match_file

HERE = Path(__file__).resolve()
DATA = Path(os.environ.get("MIMDET_DATA", HERE.parents[3] / "shared/data")) / "evalref"


@pytest.mark.parametrize(("metric", "kind"), [("box_ap", "bbox"), ("mask_ap", "segm")])
def test_published_example_is_scored_to_the_last_digit(metric, kind):
    if not DATA.is_dir():
        pytest.skip(f"no published example at {DATA}; set MIMDET_DATA")
    expected = json.loads((DATA / "expected_stats.json").read_text())[kind]["stats"][0]
    results = DATA / f"instances_val2014_fake{kind}100_results.json"
    matches = match_file(results, read_ground_truth(DATA / "instances_val2014_100.json"))[metric]
    assert len(matches.image_ids) == 100
    assert len(matches.classes) == 80
    assert matches.ap == 100 * expected
