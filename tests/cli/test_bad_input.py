"""Bad input to a run: the whole of what is said, and the exit code of its kind."""

import json

import pytest


@pytest.fixture
def train(mimdet, tiny, own_shapes, tmp_path):
    """Train the tiny recipe on a copy of the data that the test has spoilt."""

    def run(*options):
        out = tmp_path / "run"
        return mimdet("train", tiny, "--data", own_shapes, "--out", out, *options)

    return run


def edit(folder, change, split="train"):
    """Change the annotation document of a split, and return its file."""
    file = folder / "annotations" / f"instances_{split}.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    return file


def refused(outcome, code, *lines):
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines() == list(lines)


@pytest.fixture
def recipe(tiny, tmp_path, monkeypatch):
    """Write the tiny recipe with one more or one other line, as `mine.yaml` in this folder."""
    monkeypatch.chdir(tmp_path)

    def write(old, new):
        text = tiny.read_text()
        assert text.count(old) == 1
        (tmp_path / "mine.yaml").write_text(text.replace(old, new))
        before = text[: text.index(old)]
        return before.count("\n") + 1

    return write


def test_misspelt_key_names_its_neighbour_and_its_line(mimdet, recipe):
    line = recipe("warmup_images: 2", "warmup_imags: 2")
    refused(
        mimdet("train", "mine.yaml"), 2,
        "error: 'optimizer.warmup_imags' is not a recipe key.",
        f"  at:  mine.yaml, line {line}",
        "  fix: did you mean 'warmup_images'?",
    )  # fmt: skip


def test_misspelt_option_of_the_backbone_does_so_too(mimdet, recipe):
    line = recipe("decoder_width: 32", "decoder_widht: 32")
    refused(
        mimdet("train", "mine.yaml"), 2,
        "error: 'backbone.decoder_widht' is not a recipe key.",
        f"  at:  mine.yaml, line {line}",
        "  fix: did you mean 'decoder_width'?",
    )  # fmt: skip


def test_value_of_the_wrong_type_says_what_is_wanted(mimdet, recipe):
    line = recipe("steps: 4", "steps: four")
    refused(
        mimdet("train", "mine.yaml"), 2,
        "error: 'train.steps' cannot be 'four'.",
        f"  at:  mine.yaml, line {line}",
        "  fix: give a whole number of at least 1, or null.",
    )  # fmt: skip


def test_value_out_of_range_says_the_range(mimdet, tiny):
    refused(
        mimdet("train", tiny, "--set", "backbone.train_ratio=1.5", "--set", "data.workers=0"), 2,
        "error: 'backbone.train_ratio' cannot be 1.5.",
        "  at:  --set backbone.train_ratio=1.5",
        "  fix: give a number greater than 0 and at most 1.",
    )  # fmt: skip


def test_run_without_data_says_how_to_name_it(mimdet, tiny, tmp_path):
    outcome = mimdet("train", tiny, "--out", tmp_path / "run")
    fix = "  fix: give a folder in COCO layout as data.root (`--data DIR`), or set data.train_{}."
    refused(
        outcome, 3,
        "error: No annotation file found for the train split.", "  at:  no data folder is set",
        fix.format("annotations"),
        "error: No image folder found for the train split.", "  at:  no data folder is set",
        fix.format("images"),
    )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_missing_data_folder_says_where_it_was_looked_for(mimdet, tiny, tmp_path):
    data = tmp_path / "gone"
    outcome = mimdet("train", tiny, "--data", data, "--out", tmp_path / "run")
    assert outcome.code == 3
    assert outcome.err.splitlines()[:2] == [
        "error: No annotation file found for the train split.",
        f"  at:  {data / 'annotations' / 'instances_train2017.json'} or "
        f"{data / 'annotations' / 'instances_train.json'}",
    ]


def test_missing_image_files_are_all_named(train, own_shapes):
    for i in (3, 5):
        (own_shapes / "train" / f"{i:06d}.jpg").unlink()
    refused(
        train(), 3,
        "error: Image files missing from the image folder (2): 000003.jpg, 000005.jpg.",
        f"  at:  {own_shapes / 'train'}",
        "  fix: add the files, or correct 'file_name' or the folder.",
    )  # fmt: skip


def test_unknown_images_and_categories_and_bad_boxes_are_all_named_at_once(train, own_shapes):
    def spoil(document):
        wrong = document["annotations"]
        wrong[0]["image_id"] = 99
        wrong[1]["category_id"] = 7
        wrong[2]["bbox"] = [1, 2, float("nan"), 4]
        wrong[3]["bbox"] = [50, 50, -20, 10]

    file = edit(own_shapes, spoil)
    refused(
        train(), 3,
        "error: Records whose image_id is not in 'images' (1): annotation 1 has image_id 99.",
        f"  at:  {file}",
        "  fix: correct 'image_id', or add the image.",
        "error: Records whose category_id is not in 'categories' (1): "
        "annotation 2 has category_id 7.",
        f"  at:  {file}",
        "  fix: correct 'category_id', or add the category.",
        "error: Boxes that are not [x, y, width, height] with finite numbers and sides of 0 or "
        "more (2): annotation 3 has [1, 2, nan, 4], annotation 4 has [50, 50, -20, 10].",
        f"  at:  {file}",
        "  fix: correct 'bbox'; is it [x0, y0, x1, y1]?",
    )  # fmt: skip


def test_annotation_without_area_is_dropped_counted_and_named(train, own_shapes):
    def flatten(document):
        document["annotations"][0]["bbox"][2] = 0
        document["annotations"][2]["bbox"][3] = 0

    edit(own_shapes, flatten)
    outcome = train("--set", "train.evals=0")
    assert outcome.code == 0
    assert outcome.err.splitlines()[:2] == [
        "train: 8 images (7 with objects), 39 objects, 3 classes",
        "warning: train: annotations dropped because they have no area (2): "
        "annotation 1, annotation 3.",
    ]


def test_data_set_without_images_is_refused(train, own_shapes):
    file = edit(own_shapes, lambda document: document.update(images=[], annotations=[]))
    refused(
        train(), 3,
        "error: Empty lists (1): 'images'.", f"  at:  {file}",
        "  fix: fill the list, or give another annotation file.",
    )  # fmt: skip


def test_data_set_without_annotations_is_refused(train, own_shapes):
    file = edit(own_shapes, lambda document: document.update(annotations=[]))
    outcome = train()
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.splitlines()[-3:] == [
        "error: No image has an annotation to train on.", f"  at:  {file}",
        "  fix: annotate images, or set data.skip_empty=false to train on empty ones.",
    ]  # fmt: skip


def test_val_split_of_other_classes_is_refused(train, own_shapes):
    def rename(document):
        document["categories"][2]["name"] = "star"

    file = edit(own_shapes, rename, split="val")
    refused(
        train(), 3,
        "error: the classes differ: the model has 3, the data 3; only in the model: triangle; "
        "only in the data: star.",
        f"  at:  {file}",
        "  fix: use annotations with the model's training classes, in the same order.",
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_ends_training_and_is_named(train, own_shapes, workers):
    for image in (own_shapes / "train").iterdir():
        image.write_bytes(image.read_bytes()[:700])
    outcome = train("--set", f"data.workers={workers}")
    assert (outcome.code, outcome.out) == (3, "")
    log, errors = outcome.err.split("error: ", 1)
    assert len(log.splitlines()) == 5
    first, second = errors.split("error: ")  # both images of the batch
    for one in (first, second):
        what, where, fix = one.splitlines()
        assert what.startswith("The image cannot be read: ")
        assert where.startswith(f"  at:  {own_shapes / 'train'}")
        assert fix == "  fix: replace the file, or remove it and its annotations from the data set."


def test_image_of_another_size_is_named(train, own_shapes):
    def enlarge(document):
        for image in document["images"]:
            image["width"] = 200

    edit(own_shapes, enlarge)
    outcome = train("--set", "head.mask=false")
    assert outcome.code == 3
    assert "is 128 x 128 pixels, but its annotation file says 200 x 128." in outcome.err


def test_output_folder_that_cannot_be_written_is_refused(mimdet, tiny, shapes, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    outcome = mimdet("train", tiny, "--data", shapes, "--out", out)
    assert (outcome.code, outcome.out) == (6, "")
    assert outcome.err.splitlines()[-3:] == [
        "error: cannot write the run folder: Not a directory.",
        f"  at:  {out}",
        "  fix: give another folder.",
    ]


def test_unknown_device_is_refused(mimdet, tiny, shapes, tmp_path):
    outcome = mimdet("train", tiny, "--data", shapes, "--out", tmp_path / "run", "--device", "gpu0")
    refused(
        outcome, 2,
        "error: 'gpu0' is not a device.", "  at:  device",
        "  fix: use cpu, cuda, cuda:1 or mps.",
    )  # fmt: skip
    assert not (tmp_path / "run").exists()
