"""The folder of an ablation as rows: finished or not, with the paper's figures kept apart."""

import json
import shutil

import pytest
from ablation_folders import Folder

from mimdet_cli.ablation.definition import Request
from mimdet_cli.ablation.judge import resampling
from mimdet_cli.ablation.judge.statistics import (
    CellFigures,
    Resampled,
    Resampling,
    contrast,
    estimate,
)
from mimdet_cli.ablation.report.files import to_json
from mimdet_cli.ablation.report.summary import summarise
from mimdet_cli.ablation.report.text import tables
from mimdet_cli.console import Console
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.errors import DataError, RecipeError
from mimdet_cli.evaluation.bootstrap import match_file
from mimdet_cli.evaluation.metrics import METRICS

RESAMPLING = Resampling(resamples=100)
PAPER = {
    "a": {"box_ap": 50.0, "mask_ap": 45.0, "hours": 10.0, "gpu": "V100", "memory_gb": 8.0},
    "b": {"box_ap": 52.0, "mask_ap": 44.0, "hours": 20.0, "gpu": "V100", "memory_gb": 12.0},
    "c": {"box_ap": 53.0, "hours": 15.0, "gpu": "A100", "params_m": 99.0},
}


@pytest.fixture
def folder(tmp_path):
    """Three cells of two seeds: one done, one half done, one not begun."""
    made = Folder(tmp_path / "out", {"paper": PAPER})
    made.plan(["a", "b", "c"], seeds=(0, 1))
    made.score("a", 2.0, 0)
    made.score("a", 3.0, 1)
    made.score("b", 1.0, 0, train_s=250.0, step_s=0.75, parameters=3_000_000)
    return made


def summary_of(folder, **request):
    return summarise(Request(folder.name, out=folder.out, **request), Console(), RESAMPLING)


def row(summary, label):
    return next(one for one in summary.rows if one.cell.label == label)


def resampled(folder, label, seed, kind):
    path = folder.out / "runs" / folder.cells[label][seed] / "evals/plain/predictions.json"
    return Resampled.of(match_file(path, read_ground_truth(folder.annotations))[kind], RESAMPLING)


@pytest.mark.parametrize("kind", ["box_ap", "mask_ap"])
def test_row_has_the_statistics_of_its_predictions(folder, kind):
    summary = summary_of(folder)
    metric = METRICS[kind]
    a = CellFigures({kind: {seed: resampled(folder, "a", seed, kind) for seed in (0, 1)}})
    b = CellFigures({kind: {0: resampled(folder, "b", 0, kind)}})
    assert row(summary, "a").estimates[kind] == estimate(a, metric)
    assert row(summary, "b").estimates[kind] == estimate(b, metric)
    assert row(summary, "b").differences[kind] == contrast([(1, b), (-1, a)], metric, RESAMPLING)
    assert kind not in row(summary, "a").differences


def test_half_finished_cells_show_the_seeds_that_they_have(folder):
    summary = summary_of(folder)
    assert [(one.seeds, one.wanted) for one in summary.rows] == [
        ((0, 1), (0, 1)),
        ((0,), (0, 1)),
        ((), (0, 1)),
    ]
    assert row(summary, "c").estimates == row(summary, "c").costs == {}
    assert [(one.title, one.state, one.reason) for one in summary.runs] == [
        ("a seed 0", "done", None),
        ("b seed 0", "done", None),
        ("c seed 0", "unfinished", "not started"),
        ("a seed 1", "done", None),
        ("b seed 1", "unfinished", "not started"),
        ("c seed 1", "unfinished", "not started"),
    ]


def test_failed_and_started_runs_have_a_reason(folder):
    shutil.rmtree(folder.train("c", 0) / "evals", ignore_errors=True)
    folder.train("c", 1, train_s=None, status="failed", reason="CUDA out of memory")
    (folder.out / "runs" / "b-1" / "run").mkdir(parents=True)
    states = {one.title: (one.state, one.reason) for one in summary_of(folder).runs}
    assert states["c seed 0"] == ("unfinished", "trained, 0 of 1 evaluations done")
    assert states["c seed 1"] == ("failed", "CUDA out of memory")
    assert states["b seed 1"] == ("unfinished", "training has started")


def test_folder_without_a_single_run_is_summed_up_too(tmp_path):
    made = Folder(tmp_path / "out", {})
    made.plan(["a", "b"])
    summary = summary_of(made)
    assert [one.seeds for one in summary.rows] == [(), ()]
    assert summary.split is None
    assert len(summary.in_state("unfinished")) == 2


def test_costs_are_related_to_the_default(folder):
    costs = row(summary_of(folder), "b").costs
    assert costs["train_s"].relative == pytest.approx(2.5)
    assert costs["step_s"].relative == pytest.approx(1.5)
    assert costs["parameters"].relative == pytest.approx(1.5)
    assert costs["peak_memory_gb"].relative == 1
    assert row(summary_of(folder), "a").costs["train_s"].relative is None


def test_times_of_another_device_are_not_related(folder):
    folder.train("b", 0, device="another cpu")
    summary = summary_of(folder)
    costs = row(summary, "b").costs
    assert costs["train_s"].relative is costs["peak_memory_gb"].relative is None
    assert costs["parameters"].relative == pytest.approx(1.5)
    assert any("one cpu; another cpu" in one for one in summary.differs)


def test_training_time_includes_the_run_that_it_starts_from(folder):
    folder.score("c", 2.0, 0, train_s=20.0, parent=folder.cells["a"][0])
    assert row(summary_of(folder), "c").costs["train_s"].by_seed == {0: 120.0}


def test_papers_figures_are_related_to_the_papers_default_alone(folder):
    summary = summary_of(folder)
    a, b, c = (row(summary, label).paper for label in "abc")
    assert a.relative == {}
    assert b.relative == pytest.approx(
        {"box_ap": 2, "mask_ap": -1, "train_s": 2, "peak_memory_gb": 1.5}
    )
    assert c.relative == {"box_ap": 3}
    assert (b.apart, c.apart) == (None, "other GPU")


def test_papers_figures_never_enter_ours(folder):
    before = to_json(summary_of(folder))
    first = [part.body for part in tables(summary_of(folder), full=True)]
    changed = {
        label: {key: value if key == "gpu" else value * 3 for key, value in figures.items()}
        for label, figures in PAPER.items()
    }
    folder.record["ablation"]["paper"] = changed
    folder.write()
    after = to_json(summary_of(folder))
    second = [part.body for part in tables(summary_of(folder), full=True)]
    ours = [{**cell, "paper": None} for cell in before["cells"]]
    assert [{**cell, "paper": None} for cell in after["cells"]] == ours
    assert [cell["paper"] for cell in after["cells"]] != [cell["paper"] for cell in before["cells"]]
    assert len(first) == 3
    for one, other in zip(first, second, strict=True):
        changed_columns = {
            name
            for at, name in enumerate(one.headers)
            if [row[at] for row in one.rows] != [row[at] for row in other.rows]
        }
        assert changed_columns
        assert all(name.startswith("paper") for name in changed_columns)


def test_resampled_figures_are_kept_until_the_predictions_change(folder, monkeypatch):
    first = to_json(summary_of(folder))
    matched = []

    def match(results, content):
        matched.append(results)
        return match_file(results, content)

    monkeypatch.setattr(resampling, "match_file", match)
    assert to_json(summary_of(folder)) == first
    assert not matched
    path = folder.out / "runs/a-0/evals/plain/predictions.json"
    path.write_text(path.read_text() + "\n")
    assert to_json(summary_of(folder)) == first
    assert matched == [path]
    kept = folder.out / "runs/b-0/evals/plain/resampled.npz"
    kept.write_bytes(kept.read_bytes()[:100])
    assert to_json(summary_of(folder)) == first
    assert len(matched) == 2


OLDER = {
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_s": "APs", "ap_m": "APm", "ap_l": "APl",
    "ar100": "AR100",
}  # fmt: skip


def in_the_older_form(ap):
    """An evaluation's `ap` as version c73681b wrote it."""
    rows = {
        task: {theirs: ap[f"{task}_{ours}"] for ours, theirs in OLDER.items()}
        for task in ("box", "mask")
    }
    kept = {key: ap[key] for key in ("images", "detections")}
    classes = {
        name: {"box": one["box_ap"], "mask": one["mask_ap"]}
        for name, one in ap["per_class"].items()
    }
    return {**rows, "per_class": classes, **kept}


def test_records_of_older_versions_are_read_alike(folder):
    folder.record["ablation"]["metrics"] = ["box_ap", "box_ap50", "mask_ap_s", "mask_ar100"]
    folder.write()
    before = to_json(summary_of(folder))
    assert all(before["cells"][0]["ap"].values())
    for path in folder.out.glob("runs/*/cell.json"):
        record = json.loads(path.read_text())
        for one in record["evaluations"].values():
            one |= {"box_ap": one["ap"]["box_ap"], "mask_ap": one["ap"]["mask_ap"]}
            one["ap"] = in_the_older_form(one["ap"])
        path.write_text(json.dumps(record))
    assert to_json(summary_of(folder)) == before


def test_older_records_of_boxes_alone_are_read(folder):
    for path in folder.out.glob("runs/*/cell.json"):
        record = json.loads(path.read_text())
        for one in record["evaluations"].values():
            one["ap"] = {**in_the_older_form(one["ap"]), "mask": None}
        path.write_text(json.dumps(record))
    found = set(summary_of(folder).rows[0].estimates)
    assert {"box_ap", "box_ap50", "box_ar100"} <= found
    assert not [key for key in found if key.startswith("mask_")]


def test_accuracy_without_resampling_has_its_spread_over_seeds_and_no_interval(folder):
    found = row(summary_of(folder), "a").estimates["box_ap50"]
    cells = [json.loads((folder.out / f"runs/a-{seed}/cell.json").read_text()) for seed in (0, 1)]
    assert list(found.spread.values) == [
        cell["evaluations"]["plain"]["ap"]["box_ap50"] for cell in cells
    ]
    assert found.interval is None
    against = row(summary_of(folder), "b").differences["box_ap50"]
    assert (against.p, against.over_images, against.covers, against.seeds) == (
        None,
        None,
        "seeds",
        1,
    )
    low, high = sorted(found.spread.values)
    (b,) = row(summary_of(folder), "b").figures.values(METRICS["box_ap50"]).values()
    assert (against.interval.low, against.interval.high) == pytest.approx((b - high, b - low))


def test_metric_that_was_not_recorded_is_unknown(folder):
    for path in folder.out.glob("runs/*/cell.json"):
        record = json.loads(path.read_text())
        for one in record["evaluations"].values():
            del one["ap"]["box_ar100"]
        path.write_text(json.dumps(record))
    assert "box_ar100" not in row(summary_of(folder), "a").estimates


def test_evaluation_without_its_ap_is_named(folder):
    path = folder.out / "runs/a-0/cell.json"
    record = json.loads(path.read_text())
    del record["evaluations"]["plain"]["ap"]
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="an evaluation without AP") as caught:
        summary_of(folder)
    assert caught.value.where == str(path)


def test_every_damaged_file_is_named_at_once(folder):
    for name in ("a-0", "b-0"):
        (folder.out / "runs" / name / "cell.json").write_text('{"status": "done", "train_')
    with pytest.raises(DataError) as caught:
        summary_of(folder)
    assert [one.where for one in caught.value.each()] == [
        str(folder.out / "runs" / name / "cell.json") for name in ("a-0", "b-0")
    ]
    assert all("damaged" in one.what for one in caught.value.each())


def test_wrong_value_in_a_record_is_named(folder):
    folder.train("a", 0, train_s="long")
    with pytest.raises(DataError, match="train_s") as caught:
        summary_of(folder)
    assert caught.value.where.endswith("a-0/cell.json")


def test_predictions_that_are_cut_short_or_gone_are_named(folder):
    paths = [folder.out / f"runs/{run}/evals/plain/predictions.json" for run in ("a-0", "a-1")]
    paths[0].write_text(paths[0].read_text()[:200])
    paths[1].unlink()
    with pytest.raises(DataError) as caught:
        summary_of(folder)
    first, second = caught.value.each()
    assert first.where.startswith(f"{paths[0]}, line")
    assert (second.what, second.where) == ("The file does not exist.", str(paths[1]))


def test_other_annotations_than_were_scored_are_refused(folder):
    content = json.loads(folder.annotations.read_text())
    content["annotations"] = content["annotations"][:-4]
    folder.annotations.write_text(json.dumps(content))
    with pytest.raises(DataError, match="the predictions or the annotations have changed"):
        summary_of(folder)


def test_data_may_have_moved(folder, tmp_path):
    folder.annotations.parents[1].rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="No annotation file"):
        summary_of(folder)
    summary = summary_of(folder, data=tmp_path / "elsewhere")
    assert (summary.split.name, summary.split.images, summary.split.classes) == ("elsewhere", 8, 2)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"base": "nuclei_tiny"}, "recipes/demo.yaml, not recipes/nuclei_tiny.yaml"),
        ({"seeds": 3}, "from the seeds 0, 1, not 0, 1, 2"),
        ({"overrides": ("train.steps=3",)}, r"with --set \(none\), not train.steps=3"),
        ({"added": ("timm_fpn",)}, r"with --add \(none\), not timm_fpn"),
    ],
)
def test_report_of_something_else_than_the_folder_holds_is_refused(folder, asked, message):
    with pytest.raises(RecipeError, match=message):
        summary_of(folder, **asked)


def test_same_request_as_recorded_is_accepted(folder):
    assert summary_of(folder, base="demo", seeds=2).rows


def test_ablation_that_the_folder_does_not_hold_is_refused_with_those_that_it_does(folder):
    with pytest.raises(RecipeError) as caught:
        summarise(Request("other", out=folder.out), Console(), RESAMPLING)
    assert caught.value.fix == "it holds made."
