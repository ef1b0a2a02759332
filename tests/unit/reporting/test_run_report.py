from dataclasses import replace

import pytest

from mimdet_cli.reporting.run_report import RunSummary, write_card

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


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "demo-run"
    folder.mkdir()
    (folder / "curves.png").touch()
    return folder


def test_card_tells_results_use_data_weights_and_environment(run):
    text = write_card(run, SUMMARY).read_text()
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
    assert "eval/last/predictions.png" not in write_card(run, SUMMARY).read_text()


def test_card_holds_no_path_of_the_machine_and_leaves_no_part_file(run, tmp_path):
    assert str(tmp_path) not in write_card(run, SUMMARY).read_text()
    assert sorted(path.name for path in run.iterdir()) == ["README.md", "curves.png"]


def test_box_only_run_is_called_detection_and_has_no_mask_row(run):
    box_only = replace(SUMMARY, ap={**BOXES, "images": 100, "detections": 9, "per_class": {}})
    text = write_card(run, box_only).read_text()
    assert "A Mask R-CNN for object detection of 2 classes" in text
    assert "| mask |" not in text


def test_run_that_was_not_scored_says_so(run):
    assert "This run was not scored." in write_card(run, replace(SUMMARY, ap=None)).read_text()


def test_licence_of_the_initial_weights_is_passed_on(run):
    licensed = replace(SUMMARY, weights_licence="CC-BY-NC-4.0")
    text = write_card(run, licensed).read_text()
    assert "Licence of the initial weights: CC-BY-NC-4.0." in text


def test_long_class_lists_are_cut(run):
    many = replace(SUMMARY, classes=[f"class {i}" for i in range(365)])
    assert "class 99 and 265 more" in write_card(run, many).read_text()
