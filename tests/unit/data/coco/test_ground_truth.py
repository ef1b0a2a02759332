"""What is kept of an annotation file for scoring."""

import pytest
from pycocotools import mask as coco_mask

from mimdet_cli.data.coco.ground_truth import GroundTruth

SQUARE = [[2, 1, 6, 1, 6, 5, 2, 5]]
RUNS = {"size": [8, 10], "counts": [17, 4, 59]}


def content(*segmentations, **more):
    return {
        "info": {"year": 2017},
        "images": [{"id": 1, "height": 8, "width": 10, "file_name": "a.jpg"}],
        "categories": [{"id": 3, "name": "cell", "supercategory": "x"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 3, "bbox": [2, 1, 4, 4], "segmentation": one}
            | more
            for i, one in enumerate(segmentations, 1)
        ],
    }


def test_polygons_are_kept_as_run_lengths_and_all_else_as_it_is():
    (united,) = [coco_mask.merge(coco_mask.frPyObjects(SQUARE, 8, 10))]
    kept = GroundTruth.of(content(SQUARE, RUNS, [[1, 2, 3, 4]], []), masks=True).content()
    found = [one["segmentation"] for one in kept["annotations"]]
    assert found == [united, RUNS, [[1, 2, 3, 4]], []]
    assert kept["images"] == [{"id": 1, "height": 8, "width": 10}]
    assert kept["categories"] == [{"id": 3, "name": "cell"}]


def test_what_scoring_reads_is_kept_and_nothing_else():
    given = content(SQUARE, area=12.5, iscrowd=1, comment="x")
    (kept,) = GroundTruth.of(given, masks=False).content()["annotations"]
    of = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 1, 4, 4]}
    assert kept == of | {"area": 12.5, "iscrowd": 1}


def test_masks_of_unknown_images_are_left_alone():
    kept = GroundTruth.of(content(SQUARE, image_id=77), masks=True).content()
    assert kept["annotations"][0]["segmentation"] == SQUARE


def test_an_evaluation_that_writes_into_the_content_does_not_change_it():
    truth = GroundTruth.of(content(SQUARE), masks=True)
    truth.content()["annotations"][0]["bbox"].append(5)
    assert truth.content()["annotations"][0]["bbox"] == [2, 1, 4, 4]


@pytest.mark.parametrize("masks", [True, False])
def test_content_is_small(masks):
    """Against 95 bytes of JSON a box: ids, box and a key are stored, not their names."""
    truth = GroundTruth.of(content(*[SQUARE] * 1000), masks=masks)
    assert len(truth.packed) < (120 if masks else 60) * 1000
