"""`mimdet predict`: what it refuses, what it draws and writes, and files that cannot be read."""

import json
import shutil

import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("run",), "Missing argument 'IMAGE_OR_FOLDER'"),
        (("run", "a.jpg"), "Missing option '--out'"),
        (("run", "a.jpg", "--out", "x", "--threshold", "2"), "Invalid value for '--threshold'"),
    ],
)
def test_wrong_command_line_is_one_message(mimdet, arguments, what):
    outcome = mimdet("predict", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    first, second = outcome.err.splitlines()
    assert first.startswith(f"error: {what}")
    assert second == "  fix: see `mimdet predict --help`."


def test_missing_run_is_named(mimdet, tmp_path):
    (tmp_path / "photo.jpg").touch()
    outcome = mimdet(
        "predict", tmp_path / "gone", tmp_path / "photo.jpg", "--out", tmp_path / "out"
    )
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        f"error: there is no run at {tmp_path / 'gone'}.\n  fix: give a run folder.\n"
    )
    assert not (tmp_path / "out").exists()


def test_folder_of_images_is_drawn_and_written_as_coco_results(mimdet, trained, shapes, tmp_path):
    out = tmp_path / "drawn"
    outcome = mimdet("predict", trained, shapes / "val", "--out", out, "--threshold", "0.2")
    assert outcome.code == 0
    results = json.loads((out / "predictions.json").read_text())
    above = sum(entry["score"] >= 0.2 for entry in results)
    assert outcome.out == (
        f"4 images, {above} detections with score >= 0.2\ndrawings and predictions.json: {out}\n"
    )
    assert outcome.err.startswith(f"checkpoint {trained / 'last'} (step 4)\npredicting 4/4  took ")
    names = [f"{i:06d}.png" for i in range(4)]
    assert sorted(path.name for path in out.iterdir()) == [*names, "predictions.json"]
    for name in names:
        with Image.open(out / name) as drawn:
            assert drawn.width == drawn.height >= 128  # small images are drawn larger


def test_predictions_are_those_of_the_evaluation(mimdet, trained, shapes, tmp_path):
    mimdet("predict", trained, shapes / "val", "--out", tmp_path / "drawn")
    ours = json.loads((tmp_path / "drawn" / "predictions.json").read_text())
    theirs = json.loads((trained / "eval" / "last" / "predictions.json").read_text())

    def key(entry):
        return entry["image_id"], -entry["score"]

    ours, theirs = sorted(ours, key=key), sorted(theirs, key=key)
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["image_id"] == other["image_id"]
        # evaluation reads several images at once, so sums are in another order
        assert mine["score"] == pytest.approx(other["score"], abs=1e-4)


def test_report_as_json_says_which_id_is_which_file(mimdet, trained, shapes, tmp_path):
    files = [shapes / "val" / "000002.jpg", shapes / "train" / "000000.jpg"]
    outcome = mimdet("predict", trained / "best", *files, "--out", tmp_path / "out", "--json")
    report = json.loads(outcome.out)
    assert report["files"] == {"1": str(files[0]), "2": str(files[1])}
    assert report["results"] == str(tmp_path / "out" / "predictions.json")
    assert (report["images"], report["failed"]) == (2, {})
    ids = {e["image_id"] for e in json.loads((tmp_path / "out" / "predictions.json").read_text())}
    assert ids <= {1, 2}


def test_files_of_equal_name_get_drawings_of_their_own(mimdet, trained, shapes, tmp_path):
    files = [shapes / split / "000000.jpg" for split in ("train", "val")]
    assert mimdet("predict", trained, *files, "--out", tmp_path / "out").code == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["000000-1.png", "000000-2.png"]


def test_numbered_drawings_leave_the_names_of_others_alone(mimdet, trained, shapes, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for name in ("a-2.jpg", "a.jpg", "a.png", "B.jpg", "b.png"):
        shutil.copy(shapes / "val" / "000001.jpg", inputs / name)
    outcome = mimdet("predict", trained, inputs, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["B-1.png", "a-2.png", "a-3.png", "a-4.png", "b-5.png"]


@pytest.mark.parametrize("given", ["folder", "file"])
def test_drawings_never_go_where_the_images_are(mimdet, trained, shapes, tmp_path, given):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(shapes / "val" / "000001.jpg", photos / "a.png")
    before = (photos / "a.png").read_bytes()
    (tmp_path / "link").symlink_to(photos)
    inputs = photos if given == "folder" else photos / "a.png"
    outcome = mimdet("predict", trained, inputs, "--out", tmp_path / "link")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == [
        "error: --out is a folder of the images; drawings could overwrite them.",
        f"  at:  {tmp_path / 'link'}",
        "  fix: give another folder.",
    ]
    assert [path.name for path in photos.iterdir()] == ["a.png"]
    assert (photos / "a.png").read_bytes() == before


def test_unreadable_file_is_reported_and_the_rest_goes_on(mimdet, trained, shapes, tmp_path):
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copy(shapes / "val" / "000001.jpg", inputs / "a.jpg")
    (inputs / "b.jpg").write_text("not an image")
    (inputs / "c.jpg").write_bytes((shapes / "val" / "000001.jpg").read_bytes()[:600])
    shutil.copy(shapes / "val" / "000002.jpg", inputs / "d.jpg")
    (inputs / "notes.txt").write_text("not looked at")
    outcome = mimdet("predict", trained, inputs, "--out", tmp_path / "out")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "2 files could not be read"
    warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert warnings[0] == (
        f"warning: {inputs / 'b.jpg'}: The image cannot be read: it is damaged, or not in a "
        "known image format."
    )
    assert warnings[1].startswith(f"warning: {inputs / 'c.jpg'}: The image cannot be read: ")
    drawn = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert drawn == ["a.png", "d.png"]


def test_nothing_readable_is_an_error(mimdet, trained, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("not an image")
    outcome = mimdet("predict", trained, bad, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.splitlines()[-3:] == [
        "error: none of the files could be read.",
        f"  at:  {bad}",
        "  fix: give JPEG, PNG, BMP, WebP or TIFF images.",
    ]


def test_every_missing_input_is_named(mimdet, trained, tmp_path):
    a, b = tmp_path / "a.jpg", tmp_path / "b"
    outcome = mimdet("predict", trained, a, b, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "".join(
        f"error: {path} does not exist.\n  fix: correct the path.\n" for path in (a, b)
    )


def test_folder_without_images_is_an_error(mimdet, trained, tmp_path):
    outcome = mimdet("predict", trained, tmp_path, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.startswith(f"error: the folder contains no images.\n  at:  {tmp_path}\n")


def test_output_folder_that_cannot_be_made_is_an_error(mimdet, trained, shapes, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    outcome = mimdet("predict", trained, shapes / "val", "--out", out)
    assert (outcome.code, outcome.out) == (6, "")
    assert outcome.err.splitlines()[-3:] == [
        "error: cannot create the output folder: Not a directory.",
        f"  at:  {out}",
        "  fix: give another folder.",
    ]
