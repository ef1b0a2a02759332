"""AP of resampled images, against pycocotools on a data set that holds the images that often."""

import json

import numpy as np
import pytest

from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.evaluation.bootstrap import RECALLS, hits_needed, match, match_file
from mimdet_cli.evaluation.coco_ap import score

SIDE = 100


def mask(x, y, w, h):
    return to_rle([[x, y, x + w, y, x + w, y + h, x, y + h]], SIDE, SIDE)


def made_up(seed, images=12):
    """Boxes of four classes, one of them absent; crowds, an empty image, misses, false alarms."""
    rng = np.random.default_rng(seed)
    truth, results = [], []

    def entry(image, kind, box):
        box = np.round(np.clip(box, [0, 0, 2, 2], SIDE / 2), 2).tolist()
        of = {"image_id": image, "category_id": kind, "bbox": box}
        return of | {"segmentation": mask(*box)}

    for image in range(10, 10 * images, 10):  # the last image stays empty
        for _ in range(rng.integers(1, 7)):
            kind = int(rng.choice([3, 7, 9]))
            box = np.concatenate([rng.uniform(0, 50, 2), rng.uniform(5, 45, 2)])
            crowd = {"id": len(truth) + 1, "iscrowd": int(rng.random() < 0.1)}
            truth.append(entry(image, kind, box) | crowd)
            truth[-1]["area"] = truth[-1]["bbox"][2] * truth[-1]["bbox"][3]
            for _ in range(rng.integers(0, 4)):
                other = kind if rng.random() < 0.8 else int(rng.choice([3, 7, 9, 12]))
                near = box + rng.normal(0, 4, 4)
                results.append(entry(image, other, near) | {"score": float(rng.random())})
    content = {
        "images": [{"id": 10 * i, "height": SIDE, "width": SIDE} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": f"class {i}"} for i in (3, 7, 9, 12)],
        "annotations": truth,
    }
    return content, results


def repeated(content, results, counts):
    """The data set with each image as often as `counts` says, copies next to each other."""
    images, truth, found = [], [], []
    for image, count in zip(content["images"], counts, strict=True):
        for copy in range(count):
            new = image["id"] * 100 + copy
            images.append(image | {"id": new})
            mine = (e for e in content["annotations"] if e["image_id"] == image["id"])
            truth += [e | {"image_id": new, "id": len(truth) + i} for i, e in enumerate(mine, 1)]
            found += [e | {"image_id": new} for e in results if e["image_id"] == image["id"]]
    return content | {"images": images, "annotations": truth}, found


def reference(content, results, kind):
    report = score(content, results, masks=kind == "segm")
    return report.values["mask_ap" if kind == "segm" else "box_ap"]


KINDS = ["bbox", "segm"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_images_as_they_are_have_the_ap_of_pycocotools_to_the_last_digit(seed, kind):
    content, results = made_up(seed)
    ap = match(content, results, kind).ap
    assert 5 < ap < 95
    assert ap == reference(content, results, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_counts_give_the_ap_of_a_data_set_that_repeats_the_images(seed, kind):
    content, results = made_up(seed)
    counts = np.random.default_rng(seed).multinomial(12, [1 / 12] * 12, size=6)
    counts[0] = 1
    found = match(content, results, kind).resampled(counts)
    assert len(set(found.tolist())) == 6
    for row, ap in zip(counts, found, strict=True):
        assert ap == reference(*repeated(content, results, row), kind)


def test_scores_may_be_equal_across_images():
    content, results = made_up(4)
    for entry in results:
        entry["score"] = round(entry["score"], 1)
    for counts in ([1] * 12, [2] * 12):
        (ap,) = match(content, results, "bbox").resampled(np.array([counts]))
        # a tie within one image is broken image by image there and detection by detection here
        tolerance = 0 if counts[0] == 1 else 0.5
        assert ap == pytest.approx(
            reference(*repeated(content, results, counts), "bbox"), abs=tolerance
        )


def test_class_that_is_left_without_objects_does_not_count():
    content, results = made_up(0)
    keep = {e["image_id"] for e in content["annotations"] if e["category_id"] != 7}
    gone = {e["image_id"] for e in content["annotations"] if e["category_id"] == 7}
    counts = np.array([[int(i["id"] in keep - gone) for i in content["images"]]])
    assert counts.sum() >= 2
    (ap,) = match(content, results, "bbox").resampled(counts)
    assert ap == reference(*repeated(content, results, counts[0]), "bbox")


def test_resample_without_any_object_has_no_ap():
    content, results = made_up(0)
    counts = np.zeros((2, 12), int)
    counts[0, -1] = 3
    counts[1] = 1
    found = match(content, results, "bbox").resampled(counts)
    assert np.isnan(found).tolist() == [True, False]
    assert match(content | {"annotations": []}, [], "bbox").ap is None
    assert match(content | {"annotations": [], "categories": []}, [], "bbox").ap is None


def test_no_results_score_zero():
    content, _ = made_up(0)
    assert match(content, [], "bbox").ap == 0
    assert match(content, [], "segm").ap == 0


def test_many_resamples_are_computed_in_blocks_with_the_same_result(monkeypatch):
    content, results = made_up(1)
    counts = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, size=25)
    matches = match(content, results, "bbox")
    at_once = matches.resampled(counts)
    monkeypatch.setattr("mimdet_cli.evaluation.bootstrap.CELLS", 10_000)
    assert np.array_equal(matches.resampled(counts), at_once)
    assert matches.resampled(counts[:0]).shape == (0,)


def test_hits_that_a_recall_needs_are_those_of_the_division():
    objects = np.arange(1, 400)
    needed = hits_needed(objects)
    hits = np.arange(401)
    for total, row in zip(objects, needed, strict=True):
        assert row.tolist() == np.searchsorted(hits / total, RECALLS).tolist()


def test_results_file_is_matched_by_boxes_and_where_it_has_them_by_masks(tmp_path):
    content, results = made_up(2)
    (tmp_path / "both.json").write_text(json.dumps(results))
    boxes = [{k: v for k, v in e.items() if k != "segmentation"} for e in results]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    both = match_file(tmp_path / "both.json", content)
    assert {key: matched.ap for key, matched in both.items()} == {
        "box_ap": reference(content, results, "bbox"),
        "mask_ap": reference(content, results, "segm"),
    }
    assert both["box_ap"].image_ids.tolist() == [10 * i for i in range(1, 13)]
    assert list(match_file(tmp_path / "boxes.json", content)) == ["box_ap"]
