"""`mimdet ablate`: what it prints, and the whole of what it says of bad input."""

import json
import shutil
import textwrap
from pathlib import Path

import pytest

from mimdet_cli.ablation.definition import shipped_ablations

TWO = "axes: {backbone.train_ratio: [0.5, 1]}"


@pytest.fixture
def ablate(mimdet, tiny, shapes, tmp_path, monkeypatch):
    """Run `mimdet ablate mine.yaml` on the tiny recipe and the generated shapes."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny, "tiny.yaml")

    def run(text, *options, data=shapes):
        head = "question: Does it matter?\nbase: tiny.yaml\n"
        Path("mine.yaml").write_text(head + textwrap.dedent(text))
        return mimdet("ablate", "mine.yaml", "--data", data, "--out", "out", *options)

    return run


def refused(outcome, code, *lines):
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.splitlines() == list(lines)


def test_list_has_every_shipped_ablation_with_its_question_and_source(mimdet):
    names = shipped_ablations()
    listed = mimdet("ablate", "ls").out.splitlines()
    assert [line.split()[0] for line in listed] == ["ablation", *names]
    records = json.loads(mimdet("ablate", "ls", "--json").out)
    assert [record["name"] for record in records] == names
    assert records[names.index("sampling-ratio")]["source"] == "MIMDet (arXiv:2204.02964), Table 1"


def test_plan_shows_cells_shared_runs_and_what_is_left(ablate):
    outcome = ablate(TWO + "\nvariants: {half: {backbone.train_ratio: 0.5}}", "--plan")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "mine: Does it matter?"
    assert lines[1].startswith("base tiny.yaml, data ")
    assert lines[3].split() == ["cell", "runs", "folders", "in", "runs/", "same", "training", "as"]
    rows = [line.split() for line in lines[5:8]]
    assert [row[0] for row in rows] == ["train_ratio=0.5", "train_ratio=1", "half"]
    assert [row[-1] for row in rows] == ["half", "-", "train_ratio=0.5"]
    assert rows[0][4] == rows[2][4]  # the folder
    assert lines[9] == "3 cells, 2 runs: 0 done, 2 to do"
    assert lines[10].startswith("left: ")
    assert lines[10].endswith(" GMACs")
    assert not Path("out").exists()


@pytest.mark.parametrize(("option", "value"), [("--device", "cpu"), ("--shard", "1/2")])
def test_plan_goes_with_nothing_that_is_about_running(ablate, option, value):
    refused(
        ablate(TWO, "--plan", option, value), 2,
        f"error: --plan and {option} cannot be combined.",
        "  fix: omit all but one of them.",
    )  # fmt: skip


def test_plan_as_json_says_the_same(ablate):
    outcome = ablate(TWO, "--plan", "--json", "--seeds", 2)
    plan = json.loads(outcome.out)
    assert [cell["label"] for cell in plan["cells"]] == ["train_ratio=0.5", "train_ratio=1"]
    assert [(run["seed"], run["state"]) for run in plan["runs"]] == [
        (0, "to do"), (0, "to do"), (1, "to do"), (1, "to do"),
    ]  # fmt: skip
    assert plan["cost"]["runs"].keys() == {run["hash"] for run in plan["runs"]}
    assert plan["cost"]["gmacs"] == sum(run["gmacs"] for run in plan["cost"]["runs"].values()) > 0
    assert plan["cost"]["seconds"] is None


def test_commands_are_one_for_each_run(ablate):
    lines = ablate(TWO, "--commands", "--seeds", 2).out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("mimdet ablate mine.yaml --data ") for line in lines)
    assert len({line.rpartition("--cell ")[2] for line in lines}) == 4


def test_unknown_ablation_names_its_neighbour(mimdet):
    refused(
        mimdet("ablate", "sampling-rato"), 2,
        "error: there is no ablation 'sampling-rato'.",
        "  fix: did you mean 'sampling-ratio'?",
    )  # fmt: skip


def test_misspelt_key_names_its_neighbour_and_its_cells(ablate):
    refused(
        ablate("axes: {backbone.trian_ratio: [0.5, 1]}"), 2,
        "error: 'backbone.trian_ratio' is not a recipe key.",
        "  at:  mine.yaml, line 3; in 'trian_ratio=0.5', 'trian_ratio=1'",
        "  fix: did you mean 'train_ratio'?",
    )  # fmt: skip


def test_all_mistakes_of_all_cells_are_reported_together(ablate):
    text = """
        axes: {backbone.train_ratio: [0.5, 1.5]}
        variants: {sometimes: {train.batch: many}}
    """
    refused(
        ablate(text), 2,
        "error: 'backbone.train_ratio' cannot be 1.5.",
        "  at:  mine.yaml, line 4; in 'train_ratio=1.5'",
        "  fix: give a number greater than 0 and at most 1.",
        "error: 'train.batch' cannot be 'many'.",
        "  at:  mine.yaml, line 5; in 'sometimes'",
        "  fix: give a whole number of at least 1.",
    )  # fmt: skip


def test_key_that_is_varied_cannot_be_set(ablate):
    refused(
        ablate(TWO, "--set", "backbone.train_ratio=1"), 2,
        "error: 'mine' varies 'backbone.train_ratio', so it cannot be set.",
        "  at:  --set backbone.train_ratio=1",
        "  fix: omit it, or copy the ablation to a file and change its values there.",
    )  # fmt: skip


def test_claim_on_no_cell_names_the_nearest(ablate):
    claim = "claims: [{says: so, rule: {kind: higher, cell: train_ratio=1.0, than: half}}]\n"
    refused(
        ablate(claim + TWO), 2,
        "error: there is no cell 'train_ratio=1.0'.",
        "  at:  mine.yaml, line 3, claim 1",
        "  fix: did you mean 'train_ratio=1'?",
        "error: there is no cell 'half'.",
        "  at:  mine.yaml, line 3, claim 1",
        "  fix: give one of 'train_ratio=0.5', 'train_ratio=1'.",
    )  # fmt: skip


def test_shard_and_cell_that_are_none_are_refused(ablate):
    refused(
        ablate(TWO, "--shard", "3/2"), 2,
        "error: '3/2' is not a shard.",
        "  at:  --shard",
        "  fix: give the number of the shard, from 1, and how many there are, such as 1/4.",
    )  # fmt: skip
    refused(
        ablate(TWO, "--cell", "abc"), 2,
        "error: 'mine' has no run 'abc'.",
        "  at:  --cell abc",
        "  fix: print the commands again with --commands: a run whose recipe changes is renamed.",
    )  # fmt: skip


def test_missing_data_are_reported_once_before_anything_runs(ablate, tmp_path):
    outcome = ablate(TWO, data="nowhere")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.count("No annotation file found for the train split.") == 1
    assert not (tmp_path / "out").exists()


def test_folder_of_another_base_is_refused(ablate):
    Path("out/ablations").mkdir(parents=True)
    record = {"base": "recipes/demo.yaml", "overrides": [], "data": "abc"}
    Path("out/ablations/mine.json").write_text(json.dumps(record))
    outcome = ablate(TWO)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[:3] == [
        "error: the folder holds this ablation from recipes/demo.yaml, not from tiny.yaml: "
        "one table cannot mix them.",
        "  at:  out/ablations/mine.json",
        "  fix: give another folder with --out, or the same options as before.",
    ]


def test_ablation_that_cannot_shrink_at_all_is_refused(mimdet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "question: Which?\nbase: base_50pct\nvariants: {mae: {init.weights: mae-base-full}}\n"
    )
    refused(
        mimdet("ablate", "mine.yaml", "--base", "demo"), 2,
        "error: no cell of 'mine' can be run from the base 'demo'.",
        "  at:  'mae': pre-trained weights do not come in this size",
        "  fix: omit --base, or give a base of the size that the ablation studies.",
    )  # fmt: skip
