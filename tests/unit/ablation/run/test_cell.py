"""One run: what it records, keeps, does again, and says when it fails."""

import json

import pytest

from mimdet_cli.ablation.folder import CELL, read_record
from mimdet_cli.ablation.run.cell import record_failure, run_cell
from mimdet_cli.ablation.run.claiming import enter, holder, locked
from mimdet_cli.console import Console
from mimdet_cli.errors import BusyError, RecipeError, WeightsError

TEXT = """
    set: {train.steps: 2, train.log_every: 1}
    evaluate:
      variants: {all: {}, half twice: {backbone.eval_ratio: 0.5, evals: 2}}
"""


@pytest.fixture
def plan(planned):
    return planned(TEXT, seeds=1)


def run(plan, number=0):
    one = plan.runs[number]
    record = run_cell(plan, one, device="cpu", progress=Console())
    return record, plan.folder(one)


def test_run_records_its_figures_and_every_evaluation(plan):
    record, folder = run(plan)
    assert json.loads((folder / CELL).read_text()) == record
    assert (record["status"], record["reason"], record["seed"]) == ("done", None, 0)
    assert record["parameters"] == 102_374
    assert record["peak_memory_gb"] is None or 0 <= record["peak_memory_gb"] < 8
    assert 0 < record["step_s"] < record["train_s"]
    whole, half = (record["evaluations"][one.key] for one in plan.runs[0].scorings)
    assert (half["settings"], half["evals"]) == ({"backbone.eval_ratio": 0.5}, 2)
    assert whole["gmacs"] < half["gmacs"] < 2 * whole["gmacs"]
    for one in (whole, half):
        results = json.loads((folder / one["folder"] / "results.json").read_text())
        assert one["ap"].items() <= results.items()
        assert {"box_ap", "mask_ap50", "box_ar100"} <= set(one["ap"])
        assert (folder / one["folder"] / "predictions.json").is_file()


def test_finished_training_and_evaluations_are_kept(plan):
    record, folder = run(plan)
    model = (folder / "run/last/model.safetensors").stat().st_mtime_ns
    kept, lost = (one.key for one in plan.runs[0].scorings)
    before = (folder / "evals" / kept / "results.json").stat().st_mtime_ns
    left = {key: one for key, one in record["evaluations"].items() if key != lost}
    (folder / CELL).write_text(json.dumps({**record, "evaluations": left}))
    assert not plan.is_done(plan.runs[0])
    again, _ = run(plan)
    assert plan.is_done(plan.runs[0])
    assert (folder / "run/last/model.safetensors").stat().st_mtime_ns == model
    assert (folder / "evals" / kept / "results.json").stat().st_mtime_ns == before
    assert again["evaluations"][lost]["ap"] == record["evaluations"][lost]["ap"]


def test_unfinished_training_starts_again_from_its_seed(plan):
    record, folder = run(plan)
    (folder / CELL).unlink()
    (folder / "run/last/manifest.json").unlink()
    again, _ = run(plan)
    assert {key: one["ap"] for key, one in again["evaluations"].items()} == {
        key: one["ap"] for key, one in record["evaluations"].items()
    }


def test_failure_is_recorded_and_leaves_what_was_there(plan, own_shapes, planned):
    (own_shapes / "val" / "000000.jpg").write_bytes(b"no image")
    plan = planned(TEXT, seeds=1, data=own_shapes)
    with pytest.raises(Exception, match="000000"):
        run(plan)
    folder = plan.folder(plan.runs[0])
    record = read_record(folder / CELL)
    assert record["status"] == "failed"
    assert "000000.jpg" in record["reason"]
    assert record["train_s"] > 0  # the training is done and is not done again


def test_run_whose_start_is_not_trained_says_so(planned):
    plan = planned("variants: {first: {}, second: {after: first, train.steps: 2}}", seeds=1)
    with pytest.raises(WeightsError, match="is not trained"):
        run(plan, 1)


def test_run_that_another_process_is_doing_is_left_alone(plan):
    lock = plan.folder(plan.runs[0]) / "lock"
    with locked(lock):
        assert holder(lock).startswith("process ")
        with pytest.raises(BusyError, match="is working on it"):
            run(plan)
    assert holder(lock) is None
    assert not (lock.parent / CELL).exists()


def test_folder_of_another_base_or_other_data_is_refused(plan, planned, own_shapes):
    enter(plan)
    annotations = own_shapes / "annotations" / "instances_val.json"
    annotations.write_text(annotations.read_text() + "\n")
    other = planned(TEXT, seeds=1, data=own_shapes, overrides=("train.clip=1",), base="demo")
    with pytest.raises(RecipeError) as caught:
        enter(other)
    assert [one.what for one in caught.value.each()] == [
        "the folder holds this ablation from tiny.yaml, not from recipes/demo.yaml: "
        "one table cannot mix them.",
        f"the folder holds this ablation on data {plan.data}, not on data {other.data}: "
        "one table cannot mix them.",
        "the folder holds this ablation without --set, not --set train.clip=1: "
        "one table cannot mix them.",
    ]


def test_more_seeds_continue_the_folder(plan, planned):
    enter(plan)
    more = planned(TEXT, seeds=2)
    enter(more)
    record = read_record(more.request.out / "ablations" / "mine.json")
    assert [list(cell["runs"]) for cell in record["cells"]] == [["0", "1"], ["0", "1"]]
    assert list(record["cells"][0]) == [
        "label", "training", "evaluation", "key", "settings", "evals", "runs",
    ]  # fmt: skip


def test_failure_keeps_the_figures_of_an_earlier_training(plan):
    folder = plan.folder(plan.runs[0])
    folder.mkdir(parents=True)
    (folder / CELL).write_text('{"train_s": 3.0}')
    record_failure(folder, plan.runs[0], "because")
    record = read_record(folder / CELL)
    assert (record["train_s"], record["status"], record["reason"]) == (3.0, "failed", "because")
