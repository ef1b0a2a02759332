"""`mimdet train` refuses a wrong command line before it loads anything."""

import re

import pytest

from mimdet_cli.commands.train import run_folder


def test_folder_that_is_not_empty_is_refused(mimdet, tmp_path):
    (tmp_path / "notes.txt").touch()
    outcome = mimdet("train", "demo", "--out", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: the run folder is not empty.\n  at:  {tmp_path}\n"
        "  fix: give another --out, or --resume to continue the run in it.\n"
    )


def test_run_folder_that_is_a_file_is_refused(mimdet, tmp_path):
    file = tmp_path / "run"
    file.touch()
    outcome = mimdet("train", "demo", "--out", file)
    assert outcome.code == 2
    assert outcome.err == (
        f"error: the run folder is a file.\n  at:  {file}\n  fix: give another --out.\n"
    )


def test_resume_without_a_folder_is_refused(mimdet):
    outcome = mimdet("train", "demo", "--resume")
    assert outcome.code == 2
    assert outcome.err == (
        "error: --resume does not say which run to continue.\n"
        "  fix: name its folder: --out RUN --resume.\n"
    )


def test_default_folder_is_named_after_the_recipe_and_the_time():
    assert re.fullmatch(r"runs/demo-\d{8}-\d{6}", str(run_folder(None, "demo", resume=False)))


@pytest.mark.parametrize("resume", [True, False])
def test_empty_or_new_folder_is_taken(tmp_path, resume):
    assert run_folder(tmp_path, "demo", resume=resume) == tmp_path
    assert run_folder(tmp_path / "new", "demo", resume=resume) == tmp_path / "new"


def test_negative_seed_is_refused(mimdet):
    outcome = mimdet("train", "demo", "--seed", "-1")
    assert outcome.code == 2
    assert outcome.err.startswith("error: Invalid value for '--seed'")
    assert outcome.err.endswith("  fix: see `mimdet train --help`.\n")
