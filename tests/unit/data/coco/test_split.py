"""Reading a COCO split: layouts, what is dropped, and one message for everything that is wrong."""

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mimdet_cli.data.coco.split import CocoSplit, find_split, load_split
from mimdet_cli.data.mask_transforms import bitmap
from mimdet_cli.errors import DataError

DATA = Path(os.environ.get("MIMDET_DATA", Path(__file__).parents[4] / "shared" / "data"))
HEIGHT, WIDTH = 40, 60
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def document() -> dict[str, Any]:
    """Two images, two classes, three annotations; ids with gaps and out of order."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": 3, "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 20, "name": "dog"}, {"id": 4, "name": "cat"}],
        "annotations": [
            annotation(1, 3, 20),
            annotation(2, 7, 4),
            annotation(5, 3, 4, bbox=[0, 0, 5, 5]),
        ],
    }


def annotation(number: int, image: int, category: int, **changes: object) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [10, 10, 20, 20],
        "segmentation": [SQUARE],
        "iscrowd": 0,
    } | changes


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., CocoSplit]:
    """Writes a document with its images, and loads it."""

    def write_and_load(content: dict[str, Any], *, need_masks: bool = True) -> CocoSplit:
        for name in ("a.png", "b.png"):
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
        file = tmp_path / "instances.json"
        file.write_text(json.dumps(content))
        return load_split(file, tmp_path, need_masks=need_masks)

    return write_and_load


def problems(load: Callable[..., CocoSplit], content: dict[str, Any]) -> list[str]:
    """The messages of all errors, without their places."""
    with pytest.raises(DataError) as caught:
        load(content)
    assert caught.value.exit_code == 3
    return [f"{error.what} {error.fix}" for error in caught.value.each()]


def test_labels_follow_ascending_category_ids(load: Callable[..., CocoSplit]) -> None:
    split = load(document())
    assert [(c.id, c.name) for c in split.categories] == [(4, "cat"), (20, "dog")]
    assert split.annotations(1).labels.tolist() == [1, 0]


def test_objects_belong_to_their_image_and_boxes_have_two_corners(
    load: Callable[..., CocoSplit],
) -> None:
    split = load(document())
    assert split.image_ids.tolist() == [7, 3]
    assert split.annotations(0).boxes.tolist() == [[10, 10, 30, 30]]
    assert split.annotations(1).boxes.tolist() == [[10, 10, 30, 30], [0, 0, 5, 5]]
    assert split.path(1).name == "b.png"
    assert split.size(0) == (HEIGHT, WIDTH)
    assert split.notes == ()


def test_polygons_and_both_kinds_of_run_lengths_give_the_same_mask(
    load: Callable[..., CocoSplit],
) -> None:
    (packed,) = coco_mask.frPyObjects([SQUARE], HEIGHT, WIDTH)
    bits = coco_mask.decode(packed).astype(bool)
    inside = np.flatnonzero(np.diff(np.pad(bits.T.ravel(), 1).astype(int)))
    counts = np.diff([0, *inside, HEIGHT * WIDTH]).tolist()
    text = {"size": packed["size"], "counts": packed["counts"].decode()}
    content = document()
    content["annotations"] = [
        annotation(1, 7, 4),
        annotation(2, 7, 4, segmentation=text),
        annotation(3, 7, 4, segmentation={"size": [HEIGHT, WIDTH], "counts": counts}),
    ]
    masks = load(content).annotations(0).masks
    assert masks is not None
    for i in range(3):
        assert (bitmap(masks, i) == bits).all()


def test_crowd_regions_are_kept_apart_from_objects(load: Callable[..., CocoSplit]) -> None:
    content = document()
    content["annotations"].append(annotation(9, 7, 4, iscrowd=1))
    split = load(content)
    assert split.crowds.ids.tolist() == [9]
    assert 9 not in split.objects.ids
    assert len(split.annotations(0)) == 1


def test_images_without_objects_are_kept_but_not_usable(load: Callable[..., CocoSplit]) -> None:
    content = document()
    content["annotations"] = [annotation(1, 3, 4), annotation(2, 7, 4, iscrowd=1)]
    split = load(content)
    assert len(split) == 2
    assert split.usable().tolist() == [1]
    assert split.annotations(0).boxes.shape == (0, 4)


def test_boxes_are_clipped_to_the_image(load: Callable[..., CocoSplit]) -> None:
    content = document()
    content["annotations"] = [annotation(1, 7, 4, bbox=[-5, 30, 100, 20])]
    assert load(content).annotations(0).boxes.tolist() == [[0, 30, WIDTH, HEIGHT]]


def test_annotations_without_area_or_outside_are_dropped_counted_and_named(
    load: Callable[..., CocoSplit],
) -> None:
    content = document()
    content["annotations"] += [
        annotation(11, 7, 4, bbox=[5, 5, 0, 9]),
        annotation(12, 7, 4, segmentation={"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}),
        annotation(13, 7, 4, bbox=[WIDTH, 5, 9, 9]),
    ]
    split = load(content)
    assert split.notes == (
        "annotations dropped because they have no area (2): annotation 11, annotation 12.",
        "annotations dropped because they lie outside their image (1): annotation 13.",
    )
    assert sorted(split.objects.ids.tolist()) == [1, 2, 5]


def test_boxes_alone_suffice_where_no_masks_are_needed(load: Callable[..., CocoSplit]) -> None:
    content = document()
    for record in content["annotations"]:
        del record["segmentation"]
    split = load(content, need_masks=False)
    assert split.annotations(0).masks is None
    assert not split.has_masks


def test_boxes_alone_are_refused_where_masks_are_needed(load: Callable[..., CocoSplit]) -> None:
    content = document()
    content["annotations"][0]["segmentation"] = []
    del content["annotations"][2]["segmentation"]
    assert problems(load, content) == [
        "Annotations with a box but no segmentation (2): annotation 1, annotation 5. "
        "set head.mask=false to train boxes only, or add the masks."
    ]


def test_every_problem_of_a_file_is_named_at_once(
    load: Callable[..., CocoSplit], tmp_path: Path
) -> None:
    content = document()
    content["images"] += [
        {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
        {"id": 8, "file_name": "gone.png", "height": 40, "width": 60},
        {"id": 9, "file_name": "a.png", "height": "40", "width": 60},
        {"file_name": "a.png", "height": 40, "width": 60},
    ]
    content["categories"].append({"id": 4, "name": "lynx"})
    content["annotations"] += [
        "not a record",
        annotation(20, 77, 4),
        annotation(21, 7, 99),
        annotation(22, 7, 4, bbox=[float("nan"), 1, 2, 3]),
        annotation(23, 7, 4, bbox=[9, 9, -4, 2]),
        annotation(24, 7, 4, bbox=[1, 2, 3, float("inf")]),
        annotation(25, 7, 4, segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        annotation(26, 7, 4, segmentation=[[1, 2, 3, 4]]),
        annotation(27, 7, 4, segmentation={"size": [60, 40], "counts": [2400]}),
        annotation(28, 7, 4, segmentation={"size": [40, 60], "counts": [5]}),
        annotation(29, 7, 4, segmentation={"size": [40, 60], "counts": "~~"}),
        annotation(2, 7, 4),
    ]
    assert problems(load, content) == [
        "Records that are not objects (1): annotation at position 3 is 'not a record'. "
        "make every record an object, { ... }.",
        "Records that lack a required key (1): image at position 5 has no 'id'. add the key.",
        "Records with a value of the wrong type (1): image 9 has height '40'. correct the value.",
        "Ids used more than once (3): category 4, image 3, annotation 2. "
        "give every record a unique id.",
        "Records whose image_id is not in 'images' (1): annotation 20 has image_id 77. "
        "correct 'image_id', or add the image.",
        "Records whose category_id is not in 'categories' (1): annotation 21 has category_id 99. "
        "correct 'category_id', or add the category.",
        "Boxes that are not [x, y, width, height] with finite numbers and sides of 0 or more (3): "
        "annotation 22 has [nan, 1, 2, 3], annotation 23 has [9, 9, -4, 2], "
        "annotation 24 has [1, 2, 3, inf]. correct 'bbox'; is it [x0, y0, x1, y1]?",
        "Segmentations that cannot be read (5): "
        "annotation 25: a polygon has 7 numbers, not an even number of at least 6, "
        "annotation 26: a polygon has 4 numbers, not an even number of at least 6, "
        "annotation 27: its size is [60, 40], but the image's is [40, 60], "
        "annotation 28: its runs cover 5 pixels, the image has 2400, "
        "annotation 29: its counts are not COCO's compressed text. "
        "correct 'segmentation', or remove the records.",
        "Image files missing from the image folder (1): gone.png. "
        "add the files, or correct 'file_name' or the folder.",
    ]


def test_ten_cases_are_named_and_the_rest_counted(load: Callable[..., CocoSplit]) -> None:
    content = document()
    content["annotations"] = [annotation(n, 7, 99) for n in range(1, 14)]
    (message,) = problems(load, content)
    named = ", ".join(f"annotation {n} has category_id 99" for n in range(1, 11))
    assert message == (
        f"Records whose category_id is not in 'categories' (13): {named} and 3 more. "
        "correct 'category_id', or add the category."
    )


def test_a_data_set_without_images_is_an_error(load: Callable[..., CocoSplit]) -> None:
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    assert problems(load, empty) == [
        "Empty lists (1): 'images'. fill the list, or give another annotation file."
    ]


def test_missing_lists_are_all_named(load: Callable[..., CocoSplit]) -> None:
    fix = "give a COCO file of instances: lists 'images', 'annotations' and 'categories'."
    assert problems(load, {"images": []}) == [
        f"The file has no list 'annotations' and no list 'categories'. {fix}"
    ]


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cut.json"
    file.write_text('{\n "images": [\n  {"id": 1,}\n')
    with pytest.raises(DataError) as caught:
        load_split(file, tmp_path, need_masks=True)
    assert caught.value.where.startswith(f"{file}, line 3, column ")
    assert caught.value.what.startswith("The file is not valid JSON: ")


def test_a_file_that_is_no_text_is_an_error_of_the_data(tmp_path: Path) -> None:
    file = tmp_path / "image.json"
    file.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="The file is not text, so it is not JSON"):
        load_split(file, tmp_path, need_masks=True)


@pytest.mark.parametrize("year", ["2017", ""])
def test_a_split_is_found_with_and_without_the_year(tmp_path: Path, year: str) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / f"val{year}").mkdir()
    file = tmp_path / "annotations" / f"instances_val{year}.json"
    file.write_text("{}")
    assert find_split(tmp_path, "val") == (file, tmp_path / f"val{year}")


def test_explicit_paths_win_over_the_layout(tmp_path: Path) -> None:
    file, folder = tmp_path / "mine.json", tmp_path / "pictures"
    file.write_text("{}")
    folder.mkdir()
    assert find_split(None, "train", file, folder) == (file, folder)
    assert find_split(tmp_path, "train", file, folder) == (file, folder)


def test_a_split_that_is_not_there_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_split(tmp_path, "train")
    file, folder = caught.value.each()
    assert file.what == "No annotation file found for the train split."
    assert file.where == (
        f"{tmp_path}/annotations/instances_train2017.json or "
        f"{tmp_path}/annotations/instances_train.json"
    )
    assert folder.where == f"{tmp_path}/train2017 or {tmp_path}/train"
    assert folder.fix == (
        "give a folder in COCO layout as data.root (`--data DIR`), or set data.train_images."
    )


def test_no_data_folder_at_all_says_so() -> None:
    with pytest.raises(DataError) as caught:
        find_split(None, "val")
    assert [error.where for error in caught.value.each()] == ["no data folder is set"] * 2


def objects_held(root: object) -> int:
    """Python objects that can be reached from one."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) not in seen and not isinstance(item, type):
            seen.add(id(item))
            todo += gc.get_referents(item)
    return len(seen)


def test_objects_in_memory_do_not_grow_with_the_annotations(
    load: Callable[..., CocoSplit],
) -> None:
    small, large = document(), document()
    large["annotations"] += [annotation(n, 7, 4) for n in range(100, 3000)]
    few = objects_held((load(small).objects, load(small).crowds))
    split = load(large)
    assert len(split.objects) == 2903
    assert objects_held((split.objects, split.crowds)) == few


@pytest.mark.parametrize("name", ["coco_fixture", "nuclei", "fruits_nuts"])
def test_real_data_loads_and_agrees_with_its_own_boxes(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} here: set MIMDET_DATA")
    split = load_split(*find_split(DATA / name, "val"), need_masks=True)
    assert len(split.objects) > 20
    for i in range(min(5, len(split))):
        truth = split.annotations(i)
        assert truth.masks is not None
        for k in np.flatnonzero((truth.boxes[:, 2:] - truth.boxes[:, :2] > 4).all(axis=1)):
            rows, columns = np.nonzero(bitmap(truth.masks, k))
            drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            # these boxes were drawn around the masks: two pixels of rounding, and no slivers
            np.testing.assert_allclose(drawn, truth.boxes[k], atol=2.0)
