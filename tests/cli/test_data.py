"""`mimdet data demo`: the embedded data set from the command line."""

import json

import pytest


def test_demo_set_is_written_once_and_left_alone_the_second_time(mimdet, tmp_path):
    words = ("data", "demo", tmp_path / "shapes", "--train", 5, "--val", 4, "--seed", 3)
    first, second = mimdet(*words), mimdet(*words)
    expected = f"{tmp_path / 'shapes'}: 5 train images, 4 val images of 128 x 128\n"
    assert (first.code, first.out, first.err) == (0, expected, "")
    assert (second.code, second.out) == (0, expected)
    assert second.err == "the folder already contains this data set; nothing written\n"
    split = json.loads((tmp_path / "shapes/annotations/instances_val.json").read_text())
    assert len(split["images"]) == 4


def test_folder_with_something_else_is_refused(mimdet, tmp_path):
    (tmp_path / "notes.txt").touch()
    outcome = mimdet("data", "demo", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert str(tmp_path) in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("option", "value"), [("--train", 3), ("--val", 0), ("--size", 64), ("--seed", -1)]
)
def test_value_out_of_range_is_refused(mimdet, tmp_path, option, value):
    outcome = mimdet("data", "demo", tmp_path / "x", option, value)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: Invalid value for '{option}'")
    assert not (tmp_path / "x").exists()
