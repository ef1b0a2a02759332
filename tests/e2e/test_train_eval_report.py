"""The installed command from generated data to drawn predictions, each verb in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "default"}


def mimdet(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mimdet_cli", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A working folder with data, a trained run, its scores and predictions."""
    here = tmp_path_factory.mktemp("work")
    mimdet("data", "demo", "shapes", "--train", 8, "--val", 4, "--seed", 3, cwd=here)
    (here / "mine.yaml").write_text(tiny.read_text())
    outcome = mimdet("train", "mine.yaml", "--data", "shapes", "--out", "runs/a", cwd=here)
    (here / "train.out").write_text(outcome.stdout)
    (here / "train.err").write_text(outcome.stderr)
    outcome = mimdet("eval", "runs/a", "--json", cwd=here)
    (here / "eval.json").write_text(outcome.stdout)
    mimdet("predict", "runs/a", "shapes/val", "--out", "drawn", cwd=here)
    return here


def test_training_prints_its_result_on_stdout_alone(folder):
    lines = (folder / "train.out").read_text().splitlines()
    assert [line[:7] for line in lines] == ["box AP ", "mask AP", "trained", "run fol"]
    log = (folder / "train.err").read_text()
    assert "AP50" not in log
    assert "\x1b" not in log, "no colours off a terminal"


def test_score_of_the_run_is_that_of_its_last_training_step(folder):
    scored = json.loads((folder / "eval.json").read_text())
    last = json.loads((folder / "runs/a/metrics.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["step"]) == ("eval", 4)
    assert scored["box_ap"] == last["box_ap"]
    assert scored["mask_ap50"] == last["mask_ap50"]


def test_card_has_the_scores_and_links_to_nothing_that_is_missing(folder):
    card = (folder / "runs/a/README.md").read_text()
    scored = json.loads((folder / "eval.json").read_text())
    assert f"{scored['box_ap']:.1f}" in card
    links = [part.split(")")[0] for part in card.split("](")[1:]]
    assert len(links) >= 4
    assert [link for link in links if not (folder / "runs/a" / link).is_file()] == []


def test_pictures_are_there_and_not_empty(folder):
    pictures = [*(folder / "runs/a").rglob("*.png"), *(folder / "drawn").glob("*.png")]
    assert len(pictures) == 3 + 4
    assert all(path.stat().st_size > 1000 for path in pictures)


def test_saved_recipe_trains_again_to_the_same_numbers(folder):
    mimdet("train", "runs/a/recipe.yaml", "--out", "runs/b", cwd=folder)

    def losses(name: str) -> list[dict]:
        lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
        return [record["losses"] for record in map(json.loads, lines) if "losses" in record]

    assert losses("a") == losses("b")
