"""AP against pycocotools: its published example to the last digit, and a direct run of it.

No tolerance: the numbers are pycocotools' own, multiplied by 100. The published example is read
where `MIMDET_DATA` (or `shared/data` beside the checkout) holds it.
"""

import contextlib
import copy
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mimdet_cli.data.coco.ground_truth import GroundTruth
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.evaluation.coco_ap import score
from mimdet_cli.evaluation.result_file import load_results

HERE = Path(__file__).resolve()
DATA = Path(os.environ.get("MIMDET_DATA", HERE.parents[3] / "shared/data")) / "evalref"
STATS = {
    "ap": 0, "ap50": 1, "ap75": 2, "ap_s": 3, "ap_m": 4, "ap_l": 5,
    "ar1": 6, "ar10": 7, "ar100": 8, "ar_s": 9, "ar_m": 10, "ar_l": 11,
}  # fmt: skip


def points(value):
    return None if value is None or value < 0 else 100 * value


def of_task(report, task):
    found = {key.partition("_"): value for key, value in report.values.items()}
    return {name: value for (of, _, name), value in found.items() if of == task}


@pytest.mark.parametrize(("kind", "stats"), [("box", "bbox"), ("mask", "segm")])
def test_published_example_is_scored_to_the_last_digit(kind, stats):
    if not DATA.is_dir():
        pytest.skip(f"no published example at {DATA}; set MIMDET_DATA")
    expected = json.loads((DATA / "expected_stats.json").read_text())[stats]
    content = read_ground_truth(DATA / "instances_val2014_100.json")
    results = load_results(DATA / f"instances_val2014_fake{stats}100_results.json", content)
    assert results.masks == (kind == "mask")
    report = score(content, results.entries, masks=results.masks)
    kept = GroundTruth.of(content, masks=True)  # as an evaluation in training has it
    assert score(kept.content(), results.entries, masks=results.masks) == report
    assert of_task(report, kind) == {
        name: points(expected["stats"][at]) for name, at in STATS.items()
    }
    found = [ap[f"{kind}_ap"] for ap in report.per_class.values()]
    assert len(found) == 80
    assert found == [points(value) for value in expected["per_category_AP"].values()]
    assert (report.images, report.detections) == (100, 734)


def blob(rng, height, width):
    """A random ellipse as RLE, and its box."""
    y, x = np.mgrid[:height, :width]
    centre, radius = rng.uniform(15, 85, 2), rng.uniform(3, 45, 2)
    inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 <= 1
    rle = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}, coco_mask.toBbox(rle).tolist()


def shifted(rle, by):
    moved = np.roll(to_bitmap(rle), by, axis=(0, 1))
    rle = coco_mask.encode(np.asfortranarray(moved.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}, coco_mask.toBbox(rle).tolist()


def made_up(seed):
    """Ten images, three classes, crowds, an empty image; results near and far from the truth."""
    rng = np.random.default_rng(seed)
    truth, results = [], []
    for image in range(1, 10):
        for _ in range(rng.integers(1, 6)):
            rle, box = blob(rng, 100, 100)
            kind, crowd = int(rng.choice([3, 7, 9])), int(rng.random() < 0.1)
            of = {"image_id": image, "category_id": kind}
            area = float(coco_mask.area(rle))
            truth.append(
                {**of, "id": len(truth) + 1, "segmentation": rle, "bbox": box, "area": area}
                | {"iscrowd": crowd}
            )
            near, near_box = shifted(rle, rng.integers(-4, 5, 2))
            results.append({**of, "segmentation": near, "bbox": near_box, "score": rng.random()})
    annotations = {
        "images": [{"id": i, "height": 100, "width": 100} for i in range(1, 11)],
        "categories": [{"id": i, "name": f"class {i}"} for i in (3, 7, 9, 12)],
        "annotations": truth,
    }
    return annotations, results


def direct(annotations, results, kind):
    """`COCOeval` as its own documentation runs it."""
    keys = ["image_id", "category_id", "score", "bbox" if kind == "bbox" else "segmentation"]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = copy.deepcopy(annotations)
        reference.createIndex()
        found = reference.loadRes([{key: entry[key] for key in keys} for entry in results])
        evaluation = COCOeval(reference, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_made_up_detections_score_as_in_a_direct_run(seed):
    annotations, results = made_up(seed)
    untouched = copy.deepcopy((annotations, results))
    report = score(annotations, results, masks=True)
    assert (annotations, results) == untouched
    assert score(GroundTruth.of(annotations, masks=True).content(), results, masks=True) == report
    for task, kind in (("box", "bbox"), ("mask", "segm")):
        stats = direct(annotations, results, kind)
        assert 0 < stats[0] < 1
        assert of_task(report, task) == {name: points(stats[at]) for name, at in STATS.items()}
