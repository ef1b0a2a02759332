import json

import pytest

from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.coco_ap import score
from mimdet_cli.evaluation.result_file import load_results

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
        return load_results(tmp_path / "results.json", read_ground_truth(tmp_path / "truth.json"))

    return run


def without(key):
    return {k: v for k, v in GOOD.items() if k != key}


def whats(error):
    return [problem.what for problem in error.value.each()]


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
    wrong = [
        {"image_id": 2},
        {"image_id": "1"},
        {"category_id": 9},
        {"score": nan},
        {"score": None},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, nan, 3, 4]},
        {"bbox": [5, 5, -2, 3]},
        {"segmentation": {**RLE, "size": [10, 8]}},
        {"segmentation": {"size": [8, 10], "counts": [20, 20]}},
        {"segmentation": [[1, 2, 3]]},
        {"segmentation": "RLE"},
        {"segmentation": []},
    ]
    with pytest.raises(DataError) as error:
        load([GOOD, *({**GOOD, **change} for change in wrong), 7, without("score")])
    assert whats(error) == [
        "Records that are not objects (1): entry 14 is 7.",
        "Records that lack a required key (1): entry 15 has no 'score'.",
        "Records with a value of the wrong type (2): entry 2 has image_id '1', "
        "entry 5 has score null.",
        "Records whose image_id is not in 'images' (1): entry 1 has image_id 2.",
        "Records whose category_id is not in 'categories' (1): entry 3 has category_id 9.",
        "Scores that are not finite numbers (1): entry 4 has score nan.",
        "Boxes that are not [x, y, width, height] with finite numbers and sides of 0 or more (3): "
        "entry 6 has a list of 3, entry 7 has [1, nan, 3, 4], entry 8 has [5, 5, -2, 3].",
        "Segmentations that cannot be read (4): "
        "entry 9: its size is [10, 8], but the image's is [8, 10], "
        "entry 10: its runs cover 40 pixels, the image has 80, "
        "entry 11: a polygon has 3 numbers, not an even number of at least 6, "
        "entry 12: it is neither polygons nor a run-length encoding.",
        "Empty segmentations (1): entry 13.",
    ]
    assert {problem.where.rsplit("/", 1)[1] for problem in error.value.each()} == {"results.json"}
    assert error.value.exit_code == 3


def test_entries_must_all_have_what_the_first_has(load):
    with pytest.raises(DataError) as error:
        load([GOOD, without("segmentation"), without("bbox")])
    assert whats(error) == [
        "Records that lack a required key (2): "
        "entry 1 has no 'segmentation', entry 2 has no 'bbox'."
    ]


def test_long_lists_of_problems_end_with_the_number_of_the_rest(load):
    with pytest.raises(DataError) as error:
        load([without("score")] * 130)
    named = ", ".join(f"entry {n} has no 'score'" for n in range(10))
    assert whats(error) == [f"Records that lack a required key (130): {named} and 120 more."]


def test_rle_text_that_is_damaged_is_refused(load):
    for counts in (RLE["counts"][:-1], RLE["counts"] + "~~", "\u00fc", ""):
        with pytest.raises(DataError, match=r"cannot be read \(1\): entry 0: its "):
            load([{**GOOD, "segmentation": {"size": [8, 10], "counts": counts}}])


def test_file_cut_short_is_named_with_line_and_column(load):
    with pytest.raises(DataError, match="The file is not valid JSON") as error:
        load('[{"image_id": 1,\n "score"')
    assert error.value.where.endswith("results.json, line 2, column 9")


def test_annotation_file_given_as_results_is_recognised(load):
    with pytest.raises(
        DataError, match=r"expected the list of a COCO results file, not an object\..*https"
    ):
        load(ANNOTATIONS)


def test_results_given_as_annotations_are_recognised(load):
    with pytest.raises(DataError, match="This is a list of 1, not a COCO annotation file"):
        load([GOOD], [GOOD])


def test_file_that_is_not_there_or_not_text_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="The file does not exist"):
        read_ground_truth(tmp_path / "absent.json")
    (tmp_path / "image.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not text"):
        read_ground_truth(tmp_path / "image.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_ground_truth(tmp_path)


def truth_with(*segmentations, **image):
    """The annotations with other segmentations, and other facts of their image."""
    (whole,) = ANNOTATIONS["annotations"]
    entries = [{**whole, "id": n, "segmentation": one} for n, one in enumerate(segmentations, 1)]
    images = [{**ANNOTATIONS["images"][0], **image}]
    return {**ANNOTATIONS, "images": images, "annotations": entries}


def test_image_sizes_of_the_annotations_that_are_no_whole_numbers_are_refused_there(load):
    with pytest.raises(DataError) as error:
        load([GOOD], truth_with(SQUARE, height="8", width=10.0))
    (one,) = error.value.each()
    assert one.what == (
        "Records with a value of the wrong type (2): image 1 has height '8', "
        "image 1 has width 10.0."
    )
    assert one.where.endswith("truth.json")
    assert one.fix == "correct the value."


def test_segmentations_of_the_annotations_that_cannot_be_scored_are_refused(load):
    wrong = [
        "abc",
        7,
        [1, 2, 3, 4, 5, 6],
        [[2, 1, 6, 5]],
        [[2, 1, 6, 1, 6, float("inf")]],
        {"counts": [80]},
        {"size": [8, 10]},
        {"size": [8, 10], "counts": [10]},
    ]
    with pytest.raises(DataError) as error:
        load([GOOD], truth_with(SQUARE, *wrong))
    (one,) = error.value.each()
    assert one.what == (
        "Segmentations that cannot be read (8): "
        "annotation 2: it is neither polygons nor a run-length encoding, "
        "annotation 3: it is neither polygons nor a run-length encoding, "
        "annotation 4: a polygon is not a list of numbers, "
        "annotation 5: the first polygon has 4 numbers, not 5 or more, "
        "annotation 6: a polygon has a number that is not finite, "
        "annotation 7: its size is None, not [height, width], "
        "annotation 8: its counts are neither text nor a list of integers, "
        "annotation 9: its runs cover 10 pixels, its size has 80."
    )
    assert one.where.endswith("truth.json")
    assert one.fix == "correct 'segmentation', or remove the key."


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        [[]],
        [*SQUARE, [2, 1, 6, 1, 6, 5, 2]],
        [*SQUARE, [2, 1, 6, 5]],
        [*SQUARE, []],
        RLE,
        {"size": [8, 10], "counts": [80]},
        {"size": [10, 8], "counts": [80]},
    ],
)
def test_segmentations_that_pycocotools_tolerates_are_scored(load, form):
    crowd = truth_with(SQUARE, form)
    crowd["annotations"][1]["iscrowd"] = 1
    loaded = load([GOOD], crowd)
    found = score(crowd, loaded.entries, masks=loaded.masks).values["mask_ap"]
    assert found == pytest.approx(100, abs=1e-9)  # a mean of 101 ones, rounded in float64


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
        read_ground_truth(tmp_path / "truth.json")
    assert whats(error) == [
        "Records that are not objects (1): category at position 0 is 'cell'.",
        "Records that lack a required key (2): image 1 has no 'width', "
        "annotation at position 0 has no 'category_id'.",
        "Boxes that are not [x, y, width, height] with finite numbers and sides of 0 or more (1): "
        "annotation at position 1 has [0, 0, -1, 1].",
    ]
