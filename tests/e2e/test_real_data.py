"""Photographs: train, score and predict with a reduced `base_50pct`, without a puzzling word.

The photographs are not part of the project: MIMDET_DATA names the folder that has `coco_cc` and
`photos`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MIMDET_DATA", ROOT.parent / "shared/data"))
REDUCED = (
    "init.weights=null", "backbone.width=96", "backbone.depth=2", "backbone.heads=3",
    "backbone.decoder_width=64", "backbone.decoder_heads=4", "backbone.decoder_layers=1",
    "backbone.channels=32", "head.channels=32", "head.fc_channels=64",
    "data.short_side=[128]", "data.eval_short_side=128", "data.workers=1",
    "train.epochs=null", "train.steps=3", "train.batch=2", "train.precision=fp32",
    "train.evals=0", "train.saves=1", "train.log_every=1",
)  # fmt: skip
PLAIN = re.compile(
    r"(train|val|weights|model|plan|checkpoint|evaluating|predicting|step \d+/3) ?:? .*"
)

pytestmark = pytest.mark.skipif(
    not (DATA / "coco_cc").is_dir(), reason=f"no photographs in {DATA}; MIMDET_DATA names them"
)


def mimdet(*arguments: object) -> tuple[str, list[str]]:
    """Output, and the unusual lines of the log."""
    done = subprocess.run(
        [sys.executable, "-m", "mimdet_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, [x for x in done.stderr.splitlines() if not PLAIN.fullmatch(x)]


def changes(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "coco"
    result, odd = mimdet(
        "train", "base_50pct", "--data", DATA / "coco_cc", "--out", out, *changes(*REDUCED)
    )
    assert result.startswith("trained 3 steps")
    assert odd == []
    return out


def test_journal_shows_half_of_the_tokens_and_finite_losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        # the floor of a half, in each batch of two
        assert line["tokens"] / 2 - 2 < line["tokens_seen"] <= line["tokens"] / 2
        assert None not in line["losses"].values()


def test_run_is_scored_on_photographs_with_the_ids_of_the_data(run):
    result, odd = mimdet("eval", run, "--json")
    assert odd == []
    report = json.loads(result)
    annotations = json.loads((DATA / "coco_cc/annotations/instances_val.json").read_text())
    assert report["images"] == len(annotations["images"])
    assert report["box_ap"] is not None
    found = json.loads((run / "eval/last/predictions.json").read_text())
    ids = {category["id"] for category in annotations["categories"]}
    assert {entry["category_id"] for entry in found} <= ids


def test_photographs_of_any_size_are_drawn(run, tmp_path):
    photos = sorted((DATA / "photos").glob("*.jpg"))[:3]
    result, odd = mimdet("predict", run, *photos, "--out", tmp_path / "drawn")
    assert odd == []
    assert result.startswith("3 images, ")
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3


@pytest.mark.slow
def test_base_of_the_released_size_makes_two_steps(tmp_path):
    sizes = [c for c in REDUCED if c.startswith(("init", "data", "train"))]
    result, odd = mimdet(
        "train", "base_50pct", "--data", DATA / "coco_cc", "--out", tmp_path / "run",
        *changes(*sizes, "train.steps=2", "train.precision=bf16"),
    )  # fmt: skip
    assert result.startswith("trained 2 steps")
    assert odd == []
