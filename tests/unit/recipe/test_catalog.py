"""Headers are read label by label; messages call shipped files `recipes/...`."""

from pathlib import Path

from mimdet_cli.recipe.catalog import header_text, read_header, shipped, shipped_folder, shown

TEXT = """\
# A detector.
#
# Command   mimdet train x
# Expected  box AP 51.7, mask AP 46.1 (COCO)
# Notes     One thing.
#           Another thing.
seed: 1
# Cost      not in the header
"""


def test_header_is_read_label_by_label_and_continued_lines_are_joined():
    header = read_header(TEXT)
    assert header.summary == "A detector."
    assert header.command == "mimdet train x"
    assert header.notes == "One thing. Another thing."
    assert (header.cost, header.source) == ("", "")
    assert (header.box_ap, header.mask_ap) == (51.7, 46.1)


def test_header_ends_at_the_first_line_that_is_no_comment():
    assert header_text(TEXT) == "".join(TEXT.splitlines(keepends=True)[:6])


def test_bound_or_other_measure_is_not_taken_for_the_ap():
    header = read_header("# X\n# Expected  box AP >= 45, mask AP50 70.1\n")
    assert (header.box_ap, header.mask_ap) == (None, None)


def test_shipped_file_is_shown_by_the_name_that_the_command_line_takes():
    path = shipped_folder() / "base" / "mask_rcnn.yaml"
    assert shown(path) == "recipes/base/mask_rcnn.yaml"
    assert shipped("./recipes/demo.yaml") == shipped_folder() / "demo.yaml"
    assert shipped("base/mask_rcnn") is None


def test_other_file_is_shown_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "x.yaml") == "a/x.yaml"
    assert shown(Path("/nowhere/x.yaml")) == "/nowhere/x.yaml"
