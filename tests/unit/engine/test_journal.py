"""`metrics.jsonl` after crashes, after resuming, and with numbers that JSON has no word for."""

import json

from mimdet_cli.engine.journal import Journal


def test_every_event_is_one_line_of_json(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.write("train", step=2, losses={"mask": 0.5})
    journal.write("eval", step=2, box_ap=None)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"event": "train", "step": 2, "losses": {"mask": 0.5}},
        {"event": "eval", "step": 2, "box_ap": None},
    ]
    assert journal.read() == [json.loads(line) for line in lines]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.write("train", grad_norm=float("inf"), losses={"mask": float("nan"), "box": 1.0})
    assert journal.read() == [
        {"event": "train", "grad_norm": None, "losses": {"mask": None, "box": 1.0}}
    ]


def test_line_that_a_crash_cut_short_is_left_out(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.write("train", step=1)
    with journal.path.open("a") as file:
        file.write('{"event": "tra')
    assert journal.read() == [{"event": "train", "step": 1}]


def test_rewinding_forgets_what_came_after_the_step(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        journal.write("train", step=step)
    with journal.path.open("a") as file:
        file.write('{"event": "tra')
    journal.rewind(2)
    journal.write("train", step=3, again=True)
    assert [record["step"] for record in journal.read()] == [1, 2, 3]
    assert journal.read()[-1] == {"event": "train", "step": 3, "again": True}


def test_journal_of_a_run_that_wrote_nothing_is_empty(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    assert journal.read() == []
    journal.rewind(0)
    assert journal.read() == []
