"""`mimdet eval`: the command line of a run and of a results file are kept apart."""

import json

import pytest

ANNOTATIONS = {
    "images": [{"id": 1, "width": 100, "height": 100, "file_name": "a.jpg"}],
    "categories": [{"id": 7, "name": "disc"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 7,
            "bbox": [10, 10, 50, 50],
            "area": 2500,
            "iscrowd": 0,
            "segmentation": [[10, 10, 60, 10, 60, 60, 10, 60]],
        }
    ],
}
RESULTS = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.9}]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    (tmp_path / "val.json").write_text(json.dumps(ANNOTATIONS))


def test_results_file_is_scored_as_json_with_null_where_nothing_exists(mimdet, files):
    outcome = mimdet("eval", "results.json", "--annotations", "val.json", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    box = report["box"]
    # Precision at the last recall threshold is 1 up to the rounding of its denominator.
    assert [box[key] for key in ("AP", "AP50", "APm")] == pytest.approx([100] * 3, rel=1e-12)
    assert box["APs"] is None
    assert report["mask"] is None


def test_results_file_is_scored_in_lines(mimdet, files):
    outcome = mimdet("eval", "results.json", "--annotations", "val.json")
    assert outcome.code == 0
    assert outcome.out.startswith("box AP  100.0")


def test_results_file_needs_its_annotations(mimdet, files):
    outcome = mimdet("eval", "results.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: a results file needs the annotations that it belongs to.\n"
        "  at:  results.json\n"
        "  fix: add --annotations FILE.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (
            ("results.json", "--data", "x", "--set", "seed=1"),
            "--data and --set cannot be used with a results file.",
        ),
        (("results.json", "--device", "cpu"), "--device cannot be used with a results file."),
        ((".", "--annotations", "val.json"), "--annotations cannot be used with a run."),
    ],
)
def test_option_that_does_not_apply_is_refused(mimdet, files, arguments, what):
    outcome = mimdet("eval", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: {what}\n  fix: leave out what does not apply; see `mimdet eval --help`.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "story"),
    [
        (("runs/gone",), 4, "error: there is no run at runs/gone.\n  fix: name a run folder.\n"),
        (
            ("gone.json", "--annotations", "val.json"),
            3,
            "error: there is no such file.\n  at:  gone.json\n  fix: check the path.\n",
        ),
        (
            ("results.json", "--annotations", "gone.json"),
            3,
            "error: there is no such file.\n  at:  gone.json\n  fix: check the path.\n",
        ),
    ],
)
def test_missing_run_or_file_is_named(mimdet, files, arguments, code, story):
    outcome = mimdet("eval", *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", story)
