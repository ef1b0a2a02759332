"""`mimdet predict`: what the command line itself refuses."""

import pytest


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
        f"error: there is no run at {tmp_path / 'gone'}.\n  fix: name a run folder.\n"
    )
    assert not (tmp_path / "out").exists()
