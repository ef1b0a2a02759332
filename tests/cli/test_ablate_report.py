"""`mimdet ablate NAME --report`: what a folder holds, without running anything."""

import json
import os
import subprocess
import sys

import pytest
from ablation_folders import Folder


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "out", {"metrics": ["box_ap"]})
    made.plan(["a", "b"])
    made.score("a", 2.0)
    return made


def test_report_is_shown_and_written(mimdet, folder):
    outcome = mimdet("ablate", "made", "--out", folder.out, "--report")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("made: Which is better?\nthis project\n1 of 2 runs done")
    assert "unfinished, not started: b seed 0\n" in outcome.out
    written = sorted(path.name for path in (folder.out / "reports").iterdir())
    assert written == ["made.csv", "made.json", "made.md", "made.png"]
    assert f"report: {folder.out}/reports/made.md" in outcome.err


def test_json_is_the_file_that_is_written(mimdet, folder):
    outcome = mimdet("ablate", "made.yaml", "--out", folder.out, "--report", "--json")
    assert outcome.code == 0, outcome.err
    written = json.loads((folder.out / "reports/made.json").read_text())
    assert json.loads(outcome.out) == written
    assert [cell["label"] for cell in written["cells"]] == ["a", "b"]


def test_folder_without_the_ablation_is_refused(mimdet, folder):
    outcome = mimdet("ablate", "sampling-ratio", "--out", folder.out, "--report")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: the folder holds no ablation 'sampling-ratio'.\n"
        f"  at:  {folder.out}\n"
        "  fix: it holds made.\n"
    )


def test_folder_of_another_base_is_refused(mimdet, folder):
    outcome = mimdet("ablate", "made", "--out", folder.out, "--report", "--base", "nuclei_tiny")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: the folder holds this ablation from the base recipes/demo.yaml, not "
        "recipes/nuclei_tiny.yaml.\n"
        f"  at:  {folder.out}/ablations/made.json\n"
        "  fix: omit that option to report what the folder holds, or give another folder with "
        "--out.\n"
    )


@pytest.mark.parametrize(
    ("options", "options_given"),
    [
        (("--plan",), "--plan and --report"),
        (("--commands",), "--commands and --report"),
        (("--shard", "1/2"), "--report and --shard"),
        (("--device", "cpu"), "--report and --device"),
    ],
)
def test_report_goes_with_nothing_that_is_about_running(mimdet, folder, options, options_given):
    outcome = mimdet("ablate", "made", "--out", folder.out, "--report", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: {options_given} cannot be combined.\n  fix: omit all but one of them.\n"
    )


def test_report_makes_no_model(folder):
    """Planning would import what detectors are built of, which takes seconds."""
    ask = (
        "import sys; from mimdet_cli.main import main; code = main(); "
        "assert not {'timm', 'mimdet_cli.build', 'backbones.mimdet'} & set(sys.modules); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, "ablate", "made", "--out", str(folder.out), "--report"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
