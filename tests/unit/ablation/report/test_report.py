"""Every form of the report, from folders with small made predictions."""

import csv
import io
import json
import re

import pytest
from ablation_folders import Folder

from mimdet_cli.ablation.judge.statistics import Plan
from mimdet_cli.ablation.report.plot import _panels
from mimdet_cli.ablation.report.report import markdown, text, write
from mimdet_cli.ablation.report.summary import summarise
from mimdet_cli.ablation.request import Request
from mimdet_cli.console import Console

PLAN = Plan(resamples=200)
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


@pytest.fixture
def folder(tmp_path):
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


def summary_of(folder):
    return summarise(Request(folder.name, out=folder.out), Console(), PLAN)


def test_terminal_shows_the_whole_report(folder):
    assert "\n".join(text(summary_of(folder))) == EXPECTED


def test_markdown_can_be_pasted(folder):
    found = markdown(summary_of(folder), "plots/made.png")
    assert found.startswith("## made\n\nDoes it help? (A paper, Table 1)\n\n```bash\n")
    assert (
        "mimdet ablate made.yaml --base demo --data photos --seeds 2 --set train.steps=10" in found
    )
    assert "![box AP of made](plots/made.png)" in found
    assert "4 of 6 runs done, 1 failed, 1 unfinished." in found
    tables = [one for one in found.split("\n\n") if one.startswith("| ")]
    assert [one.count("\n") + 1 for one in tables] == [5, 5, 4]
    assert "| claim" in tables[2]
    assert "- failed, disk full: more seed 0" in found
    assert str(folder.out) not in found


def test_csv_has_a_row_for_each_cell(folder):
    write(summary_of(folder), folder.out)
    path = folder.out / "reports/made.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["cell"] for row in rows] == ["without", "with", "more"]
    assert [row["seeds"] for row in rows] == ["2", "2", "0"]
    assert float(rows[1]["train_s_relative"]) == pytest.approx(1.505)
    assert float(rows[1]["paper_box_ap_difference"]) == 2.5
    assert float(rows[1]["paper_hours_relative"]) == 1.5
    assert rows[2]["paper_hours_relative"] == rows[2]["box_ap_mean"] == ""


def test_json_holds_everything(folder):
    write(summary_of(folder), folder.out)
    found = json.loads((folder.out / "reports/made.json").read_text())
    assert found["state"] == {"done": 4, "failed": 1, "unfinished": 1}
    assert found["default"] == "without"
    cell = found["cells"][1]
    assert set(cell["ap"]["box_ap"]["by_seed"]) == {"0", "1"}
    assert cell["ap"]["box_ap"]["difference"]["covers"] == "images and seeds"
    assert cell["costs"]["train_s"]["by_seed"] == {"0": 150.0, "1": 151.0}
    assert cell["paper"]["relative"] == {"box_ap": 2.5, "hours": 1.5}
    assert found["cells"][2]["paper"]["hours_not_compared"] == "other GPU"
    assert [one["verdict"] for one in found["claims"]] == ["undecided", "undecided"]
    assert found["left_out"] == {"pre-trained": "pre-trained weights do not come in this size"}
    assert found["runs"][2]["reason"] == "disk full"


def test_ablation_without_a_paper_has_no_columns_for_it(tmp_path):
    made = Folder(tmp_path / "out", {"metrics": ["box_ap", "train_s"]})
    made.plan(["a", "b"])
    made.score("a", 2.0)
    found = "\n".join(text(summary_of(made)))
    assert "paper" not in found.replace("papers' claims", "")
    assert "how it was run:" in found


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
def fine(tmp_path):
    made = Folder(tmp_path / "out", FINE)
    made.plan(["a", "b"], seeds=(0, 1))
    for seed in (0, 1):
        made.score("a", 3.0, seed)
        made.score("b", 2.0, seed)
    return made


def test_accuracies_that_are_not_resampled_have_tables_with_their_range(fine):
    lines = text(summary_of(fine))
    at = lines.index("box AP75")
    assert lines[at + 1].split("  ")[0] == "cell"
    assert re.split(" {2,}", lines[at + 1].strip()) == [
        "cell", "seeds", "mean", "median", "range", "difference", "its range", "paper",
        "paper difference",
    ]  # fmt: skip
    second = re.split(" {2,}", lines[at + 4])
    assert (second[0], second[1], second[-2], second[-1]) == ("b", "2 of 2", "62.5", "+2.5")
    assert re.fullmatch(r"\[\+\d+\.\d, \+\d+\.\d\]", second[-3])
    assert "The images are not resampled for box AP75, mask AR100: the range is over the seeds" in (
        "\n".join(lines)
    )
    assert "**Box AP75**" in markdown(summary_of(fine))
    assert "(range over seeds)" in summary_of(fine).verdicts[0].numbers


def test_recalls_are_reported_where_an_ablation_asks_for_them(fine):
    fine.record["ablation"]["metrics"] = ["box_ap", "box_ar1", "mask_ar_s"]
    fine.write()
    lines = text(summary_of(fine))
    for title in ("box AR1", "mask ARs"):
        assert re.search(r"^b +2 of 2 +\d+\.\d ", lines[lines.index(title) + 4])
    assert "| cell" in markdown(summary_of(fine)).split("**Box AR1**")[1]


def test_files_hold_the_accuracies_that_are_asked_for(fine):
    write(summary_of(fine), fine.out)
    found = json.loads((fine.out / "reports/made.json").read_text())["cells"][1]
    assert list(found["ap"]) == ["box_ap", "box_ap75", "mask_ap", "mask_ar100"]
    assert found["ap"]["box_ap75"]["interval"] is None
    assert found["ap"]["box_ap75"]["difference"]["covers"] == "seeds"
    assert found["paper"]["relative"] == {"box_ap75": 2.5}
    rows = list(csv.DictReader(io.StringIO((fine.out / "reports/made.csv").read_text())))
    assert float(rows[1]["box_ap75_mean"]) == found["ap"]["box_ap75"]["mean"]
    assert float(rows[1]["paper_box_ap75_difference"]) == 2.5
    assert rows[1]["box_ap75_low"] == ""


def test_plot_may_be_over_an_accuracy(fine):
    ours, theirs = _panels(summary_of(fine), None)
    assert ours.title == "box AP over mask AR100"
    assert [(one.x, one.mean) for one in theirs.points] == [(50.0, 40.0)]
    assert len(ours.points) == 2
    assert write(summary_of(fine), fine.out)[-1].read_bytes().startswith(b"\x89PNG")


def test_legend_speaks_of_intervals_only_where_there_are_some(fine):
    fine.record["ablation"]["metrics"] = ["box_ap75"]
    fine.write()
    told = "\n".join(text(summary_of(fine)))
    assert "interval" not in told
    assert "Differences are to the default cell, a." in told


RATIO = {
    "axes": {"backbone.train_ratio": [0.5, 1]},
    "evaluate": {"axes": {"backbone.eval_ratio": [0.5, 1]}},
    "plot": "step_s",
    "paper": {"train_ratio=0.5, eval_ratio=0.5": {"box_ap": 49.5}},
}
RATIOS = [
    f"train_ratio={train}, eval_ratio={evaluated}" for train in (0.5, 1) for evaluated in (0.5, 1)
]
FAMILIES = {"plot": "parameters", "paper": {"ViT-T": {"box_ap": 40.2, "params_m": 26.1}}}


def drawn(tmp_path, ablation, labels, scored=True):
    made = Folder(tmp_path / "out", ablation)
    made.plan(labels, seeds=(0, 1))
    for at, label in enumerate(labels if scored else []):
        for seed in (0, 1):
            made.score(label, 2.0 + at / 4, seed, parameters=10 ** (6 + at))
    summary = summary_of(made)
    path = write(summary, made.out)[-1]
    assert path.read_bytes().startswith(b"\x89PNG")
    return summary


def test_plot_has_a_line_for_each_training_over_the_evaluated_key(tmp_path):
    panels = _panels(drawn(tmp_path, RATIO, RATIOS), "backbone.eval_ratio")
    assert [(one.title, one.ours) for one in panels] == [
        ("box AP over eval_ratio", True),
        ("box AP over step time at eval_ratio=0.5", True),
        ("the paper's box AP over eval_ratio", False),
    ]
    assert [(one.group, one.x) for one in panels[0].points] == [
        ("train_ratio=0.5", 0.5),
        ("train_ratio=0.5", 1.0),
        ("train_ratio=1", 0.5),
        ("train_ratio=1", 1.0),
    ]
    assert [one.mean for one in panels[2].points] == [49.5]


def test_plot_over_a_metric_has_a_line_for_each_family(tmp_path):
    labels = ["ViT-T", "ViT-S", "ViT-Adapter-T", "ViT-Adapter-S", "Swin-T"]
    ours, theirs = _panels(drawn(tmp_path, FAMILIES, labels), None)
    assert [(one.group, one.name) for one in ours.points] == [
        ("ViT", "T"),
        ("ViT", "S"),
        ("ViT-Adapter", "T"),
        ("ViT-Adapter", "S"),
        ("Swin-T", ""),
    ]
    assert [one.x for one in ours.points] == [1, 10, 100, 1000, 10000]
    assert [(one.x, one.mean) for one in theirs.points] == [(26.1, 40.2)]


@pytest.mark.parametrize("ablation", [RATIO, FAMILIES, {}], ids=["evaluated", "metric", "list"])
def test_plot_is_drawn_before_anything_is_scored(tmp_path, ablation):
    drawn(tmp_path, ablation, RATIOS, scored=False)


def test_plot_without_axes_lists_the_cells(tmp_path):
    drawn(tmp_path, {"paper": {"a": {"box_ap": 40.0}}}, ["a", "b"])


EXPECTED = """\
made: Does it help?
A paper, Table 1
4 of 6 runs done, 1 failed, 1 unfinished.

box AP
cell      seeds  mean  median         range  95 % interval  difference    its interval      p  paper  paper difference
-------  ------  ----  ------  ------------  -------------  ----------  --------------  -----  -----  ----------------
without  2 of 2  58.3  58.3    54.0 to 62.6  [54.4, 65.2]   default                  -      -  40.0   default
with     2 of 2  86.4  86.4    86.4 to 86.5  [85.0, 89.7]     +28.1     [-23.7, +78.4]  0.119  42.5      +2.5
more     0 of 2     -     -               -             -         -                  -      -  43.0      +3.0

Cost
cell     training time      parameters         paper training time
-------  -------------  --------------  --------------------------
without          100 s          2.00 M              10.0 h on V100
with     150 s (1.50x)  2.50 M (1.25x)      15.0 h on V100 (1.50x)
more                 -  2.00 M (1.00x)  12.0 h on A100 (other GPU)

Mean, median and range are over the seeds; the interval is where 95 % of the means lie if the images are resampled (200 times).
Differences are to the default cell, without, paired by seed and image; their interval and p cover images and seeds, or the images alone where there is one seed.
Costs are means over the seeds, with the multiple of the default cell's; the time of a training counts those that it goes on from.
The paper's columns relate its figures to its own default cell; hours of different GPUs are not related, nor are the paper's to ours.

what differs from the paper:
  Trained from recipes/demo.yaml in place of recipes/base_50pct.yaml, every backbone at a small size.
  Changed by --set: train.steps=10.
  'without' has, in brackets what it has in the ablation's own recipe: backbone.width 48 (768), backbone.depth 2 (12), data.eval_short_side 64 (800), train.batch 2 (64), 10 steps of training (36 epochs).
  Scored on 'photos', 8 images of 2 classes; the paper's figures are of COCO val2017, 5,000 images of 80 classes.
  Trained from random weights in place of mae-base. Without MIM pre-training the small scale cannot speak for or against the papers' claims about the accuracy that comes of it.
  Every cell is meant to have 2 seeds here; the paper gives one figure for each, without its spread.
  Times are wall-clock times on one cpu, whatever else ran there.

claims:
  undecided  With is better.
             box AP with: 86.4 (86.4 to 86.5); without: 58.3 (54.0 to 62.6). difference +28.1 [-23.7, +78.4] (95 % over images and seeds, 2 seeds; p 0.12).
  undecided  More is best.
             no box AP of more.

notes:
  Nothing else was changed.

left out, pre-trained weights do not come in this size: pre-trained
failed, disk full: more seed 0
unfinished, not begun: more seed 1"""  # noqa: E501
