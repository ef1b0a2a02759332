"""The report for a terminal and as Markdown."""

import re

from ablation_folders import Folder

from mimdet_cli.ablation.report.text import markdown, text


def test_terminal_shows_the_whole_report(small, summary_of):
    assert "\n".join(text(summary_of(small))) == EXPECTED


def test_markdown_can_be_pasted(small, summary_of):
    found = markdown(summary_of(small), "plots/made.png")
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
    assert str(small.out) not in found


def test_ablation_without_a_paper_has_no_columns_for_it(tmp_path, summary_of):
    made = Folder(tmp_path / "out", {"metrics": ["box_ap", "train_s"]})
    made.plan(["a", "b"])
    made.score("a", 2.0)
    found = "\n".join(text(summary_of(made)))
    assert "paper" not in found.replace("papers' claims", "")
    assert "How it was run" in found


def test_accuracies_that_are_not_resampled_have_tables_with_their_range(fine, summary_of):
    lines = text(summary_of(fine))
    at = lines.index("Box AP75")
    assert lines[at + 1].split("  ")[0] == "cell"
    assert re.split(" {2,}", lines[at + 1].strip()) == [
        "cell", "seeds", "mean", "median", "range", "difference", "its range", "paper",
        "paper difference",
    ]  # fmt: skip
    second = re.split(" {2,}", lines[at + 4])
    assert (second[0], second[1], second[-2], second[-1]) == ("b", "2 of 2", "62.5", "+2.5")
    assert re.fullmatch(r"\[\+\d+\.\d, \+\d+\.\d\]", second[-3])
    assert "The images are not resampled for box AP75, mask AR100: the range is over seeds" in (
        "\n".join(lines)
    )
    assert "**Box AP75**" in markdown(summary_of(fine))
    assert "(range over seeds)" in summary_of(fine).verdicts[0].numbers


def test_recalls_are_reported_where_an_ablation_asks_for_them(fine, summary_of):
    fine.record["ablation"]["metrics"] = ["box_ap", "box_ar1", "mask_ar_s"]
    fine.write()
    lines = text(summary_of(fine))
    for title in ("Box AR1", "Mask ARs"):
        assert re.search(r"^b +2 of 2 +\d+\.\d ", lines[lines.index(title) + 4])
    assert "| cell" in markdown(summary_of(fine)).split("**Box AR1**")[1]


def test_legend_mentions_intervals_only_if_there_are_some(fine, summary_of):
    fine.record["ablation"]["metrics"] = ["box_ap75"]
    fine.write()
    found = "\n".join(text(summary_of(fine)))
    assert "interval" not in found
    assert "Differences are to the default cell, a." in found


EXPECTED = """\
made: Does it help?
A paper, Table 1
4 of 6 runs done, 1 failed, 1 unfinished.

Box AP
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

Mean, median and range are over seeds; the 95 % interval of the mean is over 200 resamples of the images.
Differences are to the default cell, without, paired by seed and image; their interval and p cover images and seeds, or the images alone if there is one seed.
Costs are means over seeds, with the ratio to the default cell's; training time includes the trainings that a cell starts from.
The paper's columns compare its figures with its own default cell; hours on different GPUs are not compared, nor are the paper's figures with ours.

Claims, judged by rules fixed before anything ran
  undecided  With is better.
             box AP with: 86.4 (86.4 to 86.5); without: 58.3 (54.0 to 62.6). difference +28.1 [-23.7, +78.4] (95 % over images and seeds, 2 seeds; p 0.12).
  undecided  More is best.
             no box AP of more.

What differs from the paper
  Trained from recipes/demo.yaml instead of recipes/base_50pct.yaml, with every backbone at its tiny size.
  Changed by --set: train.steps=10.
  'without' has (in brackets, the ablation's own recipe): backbone.width 48 (768), backbone.depth 2 (12), data.eval_short_side 64 (800), train.batch 2 (64), 10 steps of training (36 epochs).
  Scored on 'photos', 8 images of 2 classes; the paper's figures are on COCO val2017, 5,000 images of 80 classes.
  Trained from random weights instead of mae-base. Without MIM pre-training, runs at small scale say nothing for or against the papers' claims about the accuracy that it gives.
  Each cell is planned with 2 seeds; the paper gives a single figure per cell, without a spread.
  Times are wall-clock times on one cpu, which may have run other work.

Notes
  Nothing else was changed.

Not in the tables
  left out, pre-trained weights do not come in this size: pre-trained
  failed, disk full: more seed 0
  unfinished, not started: more seed 1"""  # noqa: E501
