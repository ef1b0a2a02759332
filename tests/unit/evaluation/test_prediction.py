"""A prediction filters, draws and shows itself, and becomes COCO entries."""

import base64
import re

import numpy as np
import pytest

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.rle import encode_counts
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.prediction import Prediction
from mimdet_cli.evaluation.results import ImageResult


def squares() -> Prediction:
    """Two detections with masks as large as their boxes, one of a class that looks like HTML."""
    maps = np.zeros((2, 20, 30), bool)
    maps[0, 2:10, 3:15] = maps[1, 10:18, 20:28] = True
    runs = [
        np.diff(np.flatnonzero(np.diff(m.T.ravel().astype(int), prepend=0, append=0))) for m in maps
    ]
    starts = [int(np.flatnonzero(m.T.ravel())[0]) for m in maps]
    counts = [[start, *r.tolist()] for start, r in zip(starts, runs, strict=True)]
    counts = [[*c, 600 - sum(c)] for c in counts]
    result = ImageResult(
        1,
        np.array([[3, 2, 15, 10], [20, 10, 28, 18]], np.float32),
        np.array([0.9, 0.4], np.float32),
        np.array([1, 0]),
        encode_counts(counts, 20, 30),
    )
    classes = (Category(7, "cat"), Category(9, "<script>"))
    return Prediction(np.full((20, 30, 3), 128, np.uint8), result, classes)


def test_masks_boxes_and_categories_are_those_of_coco():
    shown = squares()
    assert shown.masks[0, 2:10, 3:15].all()
    assert shown.masks.sum(axis=(1, 2)).tolist() == [96, 64]
    first, second = shown.to_coco(5)
    assert (first["image_id"], first["category_id"], first["bbox"]) == (5, 9, [3, 2, 12, 8])
    assert (second["category_id"], round(second["score"], 3)) == (7, 0.4)
    assert repr(shown) == "<Prediction: 2 detections in 30 x 20 pixels: 1 <script>, 1 cat>"


def test_a_notebook_shows_the_drawing_and_a_table_with_names_escaped():
    page = squares()._repr_html_()
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    assert picture.startswith(b"\x89PNG")
    assert "<script>" not in page
    assert "<td>&lt;script&gt;</td><td>0.90</td><td>3, 2, 15, 10</td>" in page
    nothing = squares().above(0.95)
    assert repr(nothing) == "<Prediction: 0 detections in 30 x 20 pixels>"
    assert (nothing.masks.shape, nothing.to_coco()) == ((0, 20, 30), [])
    assert nothing._repr_html_().count("<tr>") == 1


def test_drawing_marks_the_detections_and_nothing_else():
    drawn = np.asarray(squares().draw(scale=1.0, scores=False))
    changed = (drawn != 128).any(axis=2)
    assert changed[2:10, 3:15].mean() > 0.5
    assert not changed[12:, :18].any()


def test_predictions_are_compared_as_objects_and_refuse_a_drawing_of_no_size():
    one, other = squares(), squares()
    assert one != other
    assert len({one, other}) == 2
    with pytest.raises(DataError, match="0 is not a valid scale"):
        one.draw(scale=0)
