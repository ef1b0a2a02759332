import pytest

from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.coco_ap import score
from mimdet_cli.evaluation.metrics import ACCURACIES

BOX = [10, 10, 40, 40]
PERFECT = pytest.approx(100, abs=1e-9)  # pycocotools adds 2e-16 to a denominator


def square(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def truth(image_id, annotation_id, category_id=1, box=BOX, **more):
    of = {"image_id": image_id, "id": annotation_id, "category_id": category_id, "bbox": box}
    return {**of, "segmentation": square(*box), "area": box[2] * box[3], "iscrowd": 0, **more}


def found(image_id, category_id=1, box=BOX, score=0.9):
    of = {"image_id": image_id, "category_id": category_id, "score": score}
    return {**of, "bbox": box, "segmentation": to_rle(square(*box), 100, 100)}


def content(*annotations, images=2):
    return {
        "images": [{"id": i, "height": 100, "width": 100} for i in range(1, images + 1)],
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "rod"}],
        "annotations": list(annotations),
    }


def test_perfect_detections_score_one_hundred_in_the_sizes_that_exist():
    report = score(content(truth(1, 1), truth(2, 2)), [found(1), found(2)], masks=True)
    found_all = {metric.key: PERFECT for metric in ACCURACIES}
    no_such = {metric.key: None for metric in ACCURACIES if metric.key.endswith(("_s", "_l"))}
    assert len(found_all) >= 24
    assert len(no_such) >= 8
    assert report.to_json() == {
        **found_all,
        **no_such,
        "per_class": {
            "cell": {"box_ap": PERFECT, "mask_ap": PERFECT},
            "rod": {"box_ap": None, "mask_ap": None},
        },
        "images": 2,
        "detections": 2,
    }
    lengths = {iou: len(line) for iou, line in report.curves["box"].items()}
    assert lengths == {"0.50": 101, "0.75": 101}
    assert min(report.curves["mask"]["0.75"]) == pytest.approx(1)


def test_no_detections_score_zero():
    report = score(content(truth(1, 1)), [], masks=True)
    assert [report.values[key] for key in ("box_ap", "mask_ap", "box_ar100")] == [0, 0, 0]
    assert report.values["box_ap_l"] is None
    assert report.detections == 0


def test_data_without_annotations_has_no_ap():
    report = score(content(), [found(1)], masks=True)
    assert set(report.values.values()) == {None}
    assert report.curves["box"] == {"0.50": [], "0.75": []}


def test_boxes_alone_leave_the_keys_of_masks_out():
    box_only = [{k: v for k, v in found(1).items() if k != "segmentation"}]
    report = score(content(truth(1, 1)), box_only, masks=False)
    assert report.values["box_ap"] == PERFECT
    assert {key.partition("_")[0] for key in report.values} == {"box"}
    assert report.to_json()["per_class"]["cell"] == {"box_ap": PERFECT}
    assert set(report.curves) == {"box"}


def test_masks_alone_bring_their_own_boxes():
    mask_only = [{k: v for k, v in found(1).items() if k != "bbox"}]
    report = score(content(truth(1, 1)), mask_only, masks=True)
    assert (report.values["box_ap"], report.values["mask_ap"]) == (PERFECT, PERFECT)


def test_only_the_images_that_were_predicted_on_count():
    truths, results = (
        content(truth(1, 1), truth(2, 2)),
        [found(1), found(2, score=0.95, box=[0] * 4)],
    )
    assert score(truths, results, masks=True).values["box_ap"] < 60
    part = score(truths, results, masks=True, image_ids=[1])
    assert (part.values["box_ap"], part.images, part.detections) == (PERFECT, 1, 1)


def test_image_ids_of_another_file_are_refused():
    with pytest.raises(DataError, match="image id 77"):
        score(content(truth(1, 1)), [], masks=False, image_ids=[1, 77])


def test_annotation_with_id_zero_counts_as_found():
    assert score(content(truth(1, 0)), [found(1)], masks=True).values["box_ap"] == PERFECT


def test_detections_in_a_crowd_region_are_not_counted_as_wrong():
    crowd = truth(1, 2, box=[0, 50, 100, 50], iscrowd=1)
    stray = found(1, box=[60, 60, 20, 20], score=0.99)
    with_crowd = score(content(truth(1, 1), crowd), [found(1), stray], masks=True)
    without = score(content(truth(1, 1)), [found(1), stray], masks=True)
    assert with_crowd.values["box_ap"] == PERFECT
    assert without.values["box_ap"] < 60


def test_size_of_a_mask_is_its_own_area_and_not_that_of_its_box():
    """A false detection with a thin diagonal mask is a small object for the mask APs."""
    diagonal = to_rle([[0, 0, 2, 0, 99, 97, 99, 99, 97, 99, 0, 2]], 100, 100)
    wrong = {**found(1, score=0.99), "bbox": [0, 0, 99, 99], "segmentation": diagonal}
    large = truth(1, 1, box=[0, 0, 98, 98.5])
    results = [found(1, box=[0, 0, 98, 98.5]), wrong]
    report = score(content(large), results, masks=True)
    assert report.values["mask_ap_l"] == PERFECT
    assert report.values["mask_ap"] < 60


def test_annotation_without_a_mask_is_refused_for_masks_and_fine_for_boxes():
    bare = {k: v for k, v in truth(1, 3).items() if k != "segmentation"}
    with pytest.raises(DataError, match=r"1 of 2 annotations have no mask.*id 3"):
        score(content(bare, truth(2, 4)), [], masks=True)
    assert score(content(bare), [found(1)], masks=False).values["box_ap"] == PERFECT
    crowd = {**bare, "iscrowd": 1, "bbox": [60, 60, 30, 30]}
    assert score(content(crowd, truth(2, 4)), [found(2)], masks=True).values["mask_ap"] == PERFECT


def test_area_and_crowd_flag_may_be_absent():
    plain = {k: v for k, v in truth(1, 1).items() if k not in ("area", "iscrowd")}
    assert score(content(plain), [found(1)], masks=True).values["box_ap_m"] == PERFECT


def test_classes_of_the_same_name_are_told_apart_by_id():
    twice = content(truth(1, 1, category_id=2))
    twice["categories"][1]["name"] = "cell"
    report = score(twice, [found(1, category_id=2)], masks=False)
    assert {name: ap["box_ap"] for name, ap in report.per_class.items()} == {
        "cell (1)": None,
        "cell (2)": PERFECT,
    }


def test_nothing_is_printed(capsys):
    assert score(content(truth(1, 1)), [found(1)], masks=True).values["mask_ap"] == PERFECT
    assert capsys.readouterr() == ("", "")
