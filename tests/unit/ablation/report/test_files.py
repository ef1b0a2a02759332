"""The files of a report: Markdown, CSV, JSON and a plot."""

import csv
import io
import json

import pytest

from mimdet_cli.ablation.report.files import write


def test_csv_has_a_row_for_each_cell(small, summary_of):
    write(summary_of(small), small.out)
    path = small.out / "reports/made.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["cell"] for row in rows] == ["without", "with", "more"]
    assert [row["seeds"] for row in rows] == ["2", "2", "0"]
    assert float(rows[1]["train_s_relative"]) == pytest.approx(1.505)
    assert float(rows[1]["paper_box_ap_difference"]) == 2.5
    assert float(rows[1]["paper_hours_relative"]) == 1.5
    assert rows[2]["paper_hours_relative"] == rows[2]["box_ap_mean"] == ""


def test_json_holds_everything(small, summary_of):
    write(summary_of(small), small.out)
    found = json.loads((small.out / "reports/made.json").read_text())
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


def test_files_hold_the_accuracies_that_are_asked_for(fine, summary_of):
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
