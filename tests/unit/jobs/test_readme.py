"""The README of a run: what it says, and the tables in it."""

from dataclasses import replace

import pytest

from mimdet_cli.jobs.readme import RunSummary, ap_rows, class_rows, write_run_readme
from mimdet_cli.text_table import markdown_table, text_table

BOXES = {
    "box_ap": 48.25, "box_ap50": 70.0, "box_ap75": 50.0, "box_ap_s": None, "box_ap_m": 40.0,
    "box_ap_l": 60.0, "box_ar100": 55.0,
}  # fmt: skip
MASKS = {f"mask{key[3:]}": value for key, value in BOXES.items()}
SUMMARY = RunSummary(
    name="demo",
    command="mimdet train demo --data shapes --out runs/demo",
    training={"backbone": "mimdet", "steps": "300"},
    data={"train": "128 images, 512 objects"},
    classes=["disc", "square"],
    weights=["random weights"],
    weights_licence=None,
    environment={"mimdet": "0.1.0", "gpus": [], "git_commit": None, "plugins": {"a": "b 1"}},
    ap={
        **BOXES,
        **MASKS,
        "mask_ap": 45.0,
        "per_class": {
            "disc": {"box_ap": 50.0, "mask_ap": 46.0},
            "square": {"box_ap": None, "mask_ap": None},
        },
        "images": 100,
        "detections": 1234,
    },
    pictures={"curves.png": "Training curves", "eval/last/predictions.png": "Predictions"},
    notes=["2 annotations without area dropped: ids 4, 9."],
)
ROW = {"ap": 51.66, "ap50": 70.0, "ap75": 8.25, "ap_s": None, "ap_m": 1.0, "ap_l": 2.0}
AP_BOXES = {f"box_{name}": value for name, value in ROW.items()}
AP_MASKS = {f"mask_{name}": value for name, value in ROW.items()}
REPORT = {**AP_BOXES, "per_class": {"cell": {"box_ap": 51.66}, "rod|bar": {"box_ap": None}}}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "demo-run"
    folder.mkdir()
    (folder / "curves.png").touch()
    return folder


def test_readme_has_results_use_data_weights_and_environment(run):
    text = write_run_readme(run, SUMMARY).read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# demo",
        "## Results",
        "## Use",
        "## Training",
        "## Data",
        "## Weights",
        "## Environment",
    ]
    for part in (
        "object detection and instance segmentation of 2 classes, trained with mimdet 0.1.0.",
        "COCO AP in points of 100 of `last/` on 100 images; 1,234 detections",
        "| box  | 48.2 | 70.0 | 50.0 |   - | 40.0 | 60.0 |  55.0 |",
        "| mask | 45.0 |",
        "| disc   |   50.0 |    46.0 |",
        "![Training curves](curves.png)",
        "mimdet eval demo-run --data DIR",
        SUMMARY.command,
        "| classes | 2: disc, square",
        "- 2 annotations without area dropped: ids 4, 9.",
        "random weights",
        "| plugins    | a (b 1) |",
    ):
        assert part in text


def test_pictures_that_are_not_there_are_left_out(run):
    assert "eval/last/predictions.png" not in write_run_readme(run, SUMMARY).read_text()


def test_readme_holds_no_path_of_the_machine_and_leaves_no_part_file(run, tmp_path):
    assert str(tmp_path) not in write_run_readme(run, SUMMARY).read_text()
    assert sorted(path.name for path in run.iterdir()) == ["README.md", "curves.png"]


def test_box_only_run_is_called_detection_and_has_no_mask_row(run):
    box_only = replace(SUMMARY, ap={**BOXES, "images": 100, "detections": 9, "per_class": {}})
    text = write_run_readme(run, box_only).read_text()
    assert "A Mask R-CNN for object detection of 2 classes" in text
    assert "| mask |" not in text


def test_run_that_was_not_scored_says_so(run):
    assert (
        "This run was not scored." in write_run_readme(run, replace(SUMMARY, ap=None)).read_text()
    )


def test_licence_of_the_initial_weights_is_passed_on(run):
    licensed = replace(SUMMARY, weights_licence="CC-BY-NC-4.0")
    text = write_run_readme(run, licensed).read_text()
    assert "Licence of the initial weights: CC-BY-NC-4.0." in text


def test_long_class_lists_are_cut(run):
    many = replace(SUMMARY, classes=[f"class {i}" for i in range(365)])
    assert "class 99 and 265 more" in write_run_readme(run, many).read_text()


def test_text_is_aligned_with_numbers_to_the_right_and_dashes_for_none():
    assert text_table(*ap_rows(REPORT)).splitlines() == [
        "       AP  AP50  AP75  APs  APm  APl",
        "---  ----  ----  ----  ---  ---  ---",
        "box  51.7  70.0   8.2    -  1.0  2.0",
    ]


def test_markdown_is_aligned_and_escapes_bars():
    assert markdown_table(*class_rows(REPORT)).splitlines() == [
        "| class    | box AP |",
        "| -------- | -----: |",
        "| cell     |   51.7 |",
        "| rod\\|bar |      - |",
    ]


def test_masks_get_a_row_and_a_column_when_they_were_scored():
    both = {**REPORT, **AP_MASKS, "per_class": {"cell": {"box_ap": 51.66, "mask_ap": 50.0}}}
    assert [row[0] for row in ap_rows(both)[1]] == ["box", "mask"]
    assert class_rows(both)[0] == ["class", "box AP", "mask AP"]
