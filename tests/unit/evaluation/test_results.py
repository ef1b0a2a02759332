import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import encode_counts, to_bitmap, to_rle
from mimdet_cli.evaluation.results import ImageResult, to_coco, write_predictions

CATEGORIES = [Category(18, "dog"), Category(44, "bottle")]


def result(image_id=5, rles=None):
    return ImageResult(
        image_id=image_id,
        boxes=np.array([[1, 2, 4, 8], [0, 0, 2, 2]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([1, 0]),
        rles=rles,
    )


def test_entries_carry_the_category_ids_of_the_data_and_boxes_as_corner_and_size():
    rles = encode_counts([[3, 2, 95], [0, 100]], 10, 10)
    assert to_coco([result(), result(6, rles)], CATEGORIES) == [
        {"image_id": 5, "category_id": 44, "bbox": [1, 2, 3, 6], "score": 0.75},
        {"image_id": 5, "category_id": 18, "bbox": [0, 0, 2, 2], "score": 0.5},
        {"image_id": 6, "category_id": 44, "bbox": [1, 2, 3, 6], "score": 0.75}
        | {"segmentation": rles[0]},
        {"image_id": 6, "category_id": 18, "bbox": [0, 0, 2, 2], "score": 0.5}
        | {"segmentation": rles[1]},
    ]


def test_written_predictions_are_the_entries_and_leave_no_part_file(tmp_path):
    entries = to_coco([result(rles=encode_counts([[3, 2, 95], [0, 100]], 10, 10))], CATEGORIES)
    write_predictions(entries, tmp_path / "predictions.json")
    assert json.loads((tmp_path / "predictions.json").read_text()) == entries
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_failed_write_keeps_the_old_predictions(tmp_path):
    path = tmp_path / "predictions.json"
    write_predictions([], path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_predictions([{"score": float("nan")}], path)
    assert path.read_text() == "[]"


def test_every_form_of_segmentation_becomes_the_same_compressed_rle():
    square = [2, 1, 6, 1, 6, 5, 2, 5]
    bitmap = np.zeros((8, 10), bool)
    bitmap[1:5, 2:6] = True
    counts = [17, 4, 4, 4, 4, 4, 4, 4, 35]
    compressed = to_rle([square], 8, 10)
    assert (to_bitmap(compressed) == bitmap).all()
    assert to_rle({"size": [8, 10], "counts": counts}, 8, 10) == compressed
    assert to_rle(compressed, 8, 10) == compressed
    halves = [[2, 1, 4, 1, 4, 5, 2, 5], [4, 1, 6, 1, 6, 5, 4, 5]]
    assert to_rle(halves, 8, 10) == compressed
    assert coco_mask.area(compressed) == 16
