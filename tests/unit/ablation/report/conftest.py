"""Folders of made predictions, and what is reported of them."""

import pytest
from ablation_folders import Folder

from mimdet_cli.ablation.definition import Request
from mimdet_cli.ablation.judge.statistics import Resampling
from mimdet_cli.ablation.report.summary import Summary, summarise
from mimdet_cli.console import Console

SMALL = {
    "question": "Does it help?",
    "source": "A paper, Table 1",
    "metrics": ["box_ap", "train_s", "parameters"],
    "claims": [
        {"says": "With is better.", "rule": {"kind": "higher", "cell": "with", "than": "without"}},
        {"says": "More is best.", "rule": {"kind": "higher", "cell": "more", "than": "with"}},
    ],
    "paper": {
        "without": {"box_ap": 40.0, "hours": 10.0, "gpu": "V100"},
        "with": {"box_ap": 42.5, "hours": 15.0, "gpu": "V100"},
        "more": {"box_ap": 43.0, "hours": 12.0, "gpu": "A100"},
    },
    "notes": ["Nothing else was changed."],
}
FINE = {
    "metrics": ["box_ap", "box_ap75", "mask_ar100", "train_s"],
    "plot": "mask_ar100",
    "claims": [
        {
            "says": "b is better.",
            "metric": "box_ap75",
            "rule": {"kind": "higher", "cell": "b", "than": "a"},
        }
    ],
    "paper": {"a": {"box_ap75": 60.0}, "b": {"box_ap75": 62.5, "box_ap": 40.0, "mask_ar100": 50.0}},
}


@pytest.fixture
def summary_of():
    """The summary of a folder, with few resamples."""

    def summary(folder: Folder) -> Summary:
        request = Request(folder.name, out=folder.out)
        return summarise(request, Console(), Resampling(resamples=200))

    return summary


@pytest.fixture
def small(tmp_path):
    """Three cells: two done, one failed or not started."""
    made = Folder(tmp_path / "out", SMALL)
    made.plan(["without", "with", "more"], seeds=(0, 1))
    for seed in (0, 1):
        made.score("without", 3.0, seed)
        made.score("with", 1.0, seed, train_s=150.0 + seed, parameters=2_500_000)
    made.train("more", 0, train_s=None, status="failed", reason="disk full")
    made.record["overrides"] = ["train.steps=10"]
    made.record["left_out"] = {"pre-trained": "pre-trained weights do not come in this size"}
    made.write()
    return made


@pytest.fixture
def fine(tmp_path):
    """Two cells with metrics that are not resampled."""
    made = Folder(tmp_path / "out", FINE)
    made.plan(["a", "b"], seeds=(0, 1))
    for seed in (0, 1):
        made.score("a", 3.0, seed)
        made.score("b", 2.0, seed)
    return made
