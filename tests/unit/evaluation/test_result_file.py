import json

import pytest

from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.annotation_file import read_annotations
from mimdet_cli.evaluation.result_file import load_results
from mimdet_cli.evaluation.rle import to_rle

SQUARE = [[2, 1, 6, 1, 6, 5, 2, 5]]
RLE = to_rle(SQUARE, 8, 10)
ANNOTATIONS = {
    "images": [{"id": 1, "height": 8, "width": 10}],
    "categories": [{"id": 3, "name": "cell"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 1, 4, 4], "segmentation": SQUARE}
    ],
}
GOOD = {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [2, 1, 4, 4], "segmentation": RLE}


@pytest.fixture
def load(tmp_path):
    """Write the two files and load the results."""

    def run(results, annotations=ANNOTATIONS):
        text = results if isinstance(results, str) else json.dumps(results)
        (tmp_path / "results.json").write_text(text)
        (tmp_path / "truth.json").write_text(json.dumps(annotations))
        return load_results(tmp_path / "results.json", tmp_path / "truth.json")

    return run


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


def whats(error):
    return [one.what for one in error.value.each()]


def test_good_entries_come_back_with_compressed_masks(load):
    forms = [RLE, {"size": [8, 10], "counts": [17, 4, 4, 4, 4, 4, 4, 4, 35]}, SQUARE]
    loaded = load([{**GOOD, "segmentation": form} for form in forms])
    assert loaded.entries == [GOOD] * 3
    assert loaded.masks


def test_results_without_masks_are_scored_by_box_only(load):
    assert not load([without("segmentation")]).masks


def test_results_without_boxes_are_scored_by_mask(load):
    assert load([without("bbox")]).masks


def test_masks_are_not_scored_against_annotations_that_have_none(load):
    bare = {k: v for k, v in ANNOTATIONS["annotations"][0].items() if k != "segmentation"}
    assert not load([GOOD], {**ANNOTATIONS, "annotations": [bare]}).masks


def test_empty_list_is_scored_by_what_the_annotations_have(load):
    assert load([]).entries == []
    assert load([]).masks


def test_everything_wrong_is_listed_at_once_with_its_entry(load):
    nan = float("nan")
    wrong = {
        "image_id 2 is not in truth.json.": {"image_id": 2},
        "image_id is '1', not a whole number.": {"image_id": "1"},
        "category_id 9 is not in truth.json.": {"category_id": 9},
        "score is nan, not a finite number.": {"score": nan},
        "score is null, not a number.": {"score": None},
        "bbox is a list of 3, not four numbers x, y, width, height.": {"bbox": [1, 2, 3]},
        "bbox [1, nan, 3, 4] has a value that is not a finite number.": {"bbox": [1, nan, 3, 4]},
        "bbox [5, 5, -2, 3] has a negative width or height; is it x0, y0, x1, y1?": {
            "bbox": [5, 5, -2, 3]
        },
        "segmentation has size [10, 8], but the image is [8, 10].": {
            "segmentation": {**RLE, "size": [10, 8]}
        },
        "segmentation cannot be read: its runs cover 40 pixels, the image has 80.": {
            "segmentation": {"size": [8, 10], "counts": [20, 20]}
        },
        "segmentation is not a list of polygons.": {"segmentation": [[1, 2, 3]]},
        "segmentation is 'RLE', not an RLE with size and counts.": {"segmentation": "RLE"},
    }
    with pytest.raises(DataError) as error:
        load([GOOD, *({**GOOD, **change} for change in wrong.values()), 7, without("score")])
    assert whats(error) == [*wrong, "an entry is an object; this is 7.", "'score' missing."]
    places = [one.where.rsplit(", ", 1)[1] for one in error.value.each()]
    assert places == [f"entry {index}" for index in range(1, 15)]
    assert error.value.exit_code == 3
    assert "cocodataset.org" in error.value.each()[-1].fix


def test_entries_must_all_have_what_the_first_has(load):
    with pytest.raises(DataError) as error:
        load([GOOD, without("segmentation"), without("bbox")])
    assert whats(error) == ["'segmentation' missing.", "'bbox' missing."]


def test_long_lists_of_problems_end_with_the_number_of_the_rest(load):
    with pytest.raises(DataError) as error:
        load([without("score")] * 130)
    assert len(whats(error)) == 101
    assert whats(error)[-1] == "and 30 more."


def test_rle_text_that_is_damaged_is_refused(load):
    for counts in (RLE["counts"][:-1], RLE["counts"] + "~~", "\u00fc", ""):
        with pytest.raises(DataError, match="segmentation cannot be read"):
            load([{**GOOD, "segmentation": {"size": [8, 10], "counts": counts}}])


def test_file_cut_short_is_named_with_line_and_column(load):
    with pytest.raises(DataError, match="not valid JSON") as error:
        load('[{"image_id": 1,\n "score"')
    assert error.value.where.endswith("results.json, line 2, column 9")


def test_annotation_file_given_as_results_is_recognised(load):
    with pytest.raises(DataError, match="it holds an object, not a list"):
        load(ANNOTATIONS)


def test_results_given_as_annotations_are_recognised(load):
    with pytest.raises(DataError, match="no list 'images' and no list 'annotations'"):
        load([GOOD], [GOOD])


def test_file_that_is_not_there_or_not_text_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_annotations(tmp_path / "absent.json")
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not text"):
        read_annotations(tmp_path / "image.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_annotations(tmp_path)


def test_incomplete_annotations_are_all_listed(tmp_path):
    broken = {
        "images": [{"id": 1, "height": 8}],
        "categories": ["cell"],
        "annotations": [
            {"image_id": 1, "bbox": [0, 0, 1, 1]},
            {"image_id": 1, "category_id": 3, "bbox": [0, 0, -1, 1]},
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(broken))
    with pytest.raises(DataError) as error:
        read_annotations(tmp_path / "truth.json")
    assert whats(error) == [
        "'width' missing.",
        "'category_id' missing.",
        "bbox [0, 0, -1, 1] has a negative width or height; is it x0, y0, x1, y1?",
        "an entry is an object; this is 'cell'.",
    ]
