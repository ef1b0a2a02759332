"""What is written to the journal, and when a score is a better one."""

import io

import pytest
import torch
from detectors import completed, detector_of

from mimdet_cli.build import build_state, read_split
from mimdet_cli.console import Console
from mimdet_cli.engine.journal import Journal
from mimdet_cli.engine.loop import Timed, at
from mimdet_cli.engine.step import StepReport
from mimdet_cli.jobs.actions import Means, evaluation

CPU = torch.device("cpu")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "metrics.jsonl")


@pytest.fixture
def state(tiny, shapes):
    recipe = completed(tiny, data=shapes)
    return build_state(recipe, detector_of(recipe), CPU)


def timed(step: int, tokens=(8, 16)) -> Timed:
    report = StepReport(step, 2, tokens, {"box": step, "mask": 1.0}, 0.1 * step, None)
    return Timed(report, step_s=2.0 * step, data_s=0.5)


def take(means: Means, state, steps) -> None:
    for step in steps:
        state.step = step
        means.add(state, timed(step))


def test_line_holds_the_means_since_the_line_before(journal, state):
    with Console(io.StringIO(), io.StringIO()).steps(5) as progress:
        take(Means(journal, progress, at({2, 5})), state, range(1, 6))
    first, second = journal.read()
    assert first == {
        "event": "train", "step": 2, "images": 4, "tokens": 32, "tokens_seen": 16, "loss": 2.5,
        "losses": {"box": 1.5, "mask": 1.0}, "lr": 0.2, "grad_norm": None, "step_s": 3.0,
        "data_s": 0.5,
    }  # fmt: skip
    assert (second["step"], second["images"], second["losses"]["box"]) == (5, 6, 4.0)


def test_backbone_that_sees_every_token_has_none_to_count(journal, state):
    with Console(io.StringIO(), io.StringIO()).steps(1) as progress:
        Means(journal, progress, at({0})).add(state, timed(1, tokens=None))
    (line,) = journal.read()
    assert line["tokens"] is line["tokens_seen"] is None


def test_every_step_is_shown_also_between_lines(journal, state):
    err = io.StringIO()
    with Console(io.StringIO(), err).steps(4, every=1) as progress:
        take(Means(journal, progress, at({4})), state, range(1, 5))
    assert [line.split()[1] for line in err.getvalue().splitlines()] == ["1/4", "2/4", "3/4", "4/4"]
    assert len(journal.read()) == 1


def test_score_is_journalled_shown_and_kept_and_better_only_when_higher(
    tiny, shapes, journal, state
):
    recipe = completed(tiny, data=shapes)
    split = read_split(recipe.data, "val", need_masks=True)
    err, better, found = io.StringIO(), [], []
    console = Console(io.StringIO(), err)
    act = evaluation(
        recipe, split, CPU, journal, console, lambda s, ap: better.append((s.step, ap)), found
    )
    state.model.train()
    for step in (2, 4):
        state.step = step
        act(state, timed(step))
    assert state.model.training
    first, second = journal.read()
    assert set(first) == {
        "event", "step", "box_ap", "box_ap50", "mask_ap", "mask_ap50", "eval_s"
    }  # fmt: skip
    assert first["box_ap"] == second["box_ap"]
    assert [step for step, _ in better] == [2]  # an equal score is no better one
    assert len(found) == 1
    assert "step 4: box_ap " in err.getvalue()


def test_score_of_boxes_alone_has_no_mask_numbers(tiny, shapes, journal):
    recipe = completed(tiny, "head.mask=false", data=shapes)
    split = read_split(recipe.data, "val", need_masks=False)
    state = build_state(recipe, detector_of(recipe), CPU)
    console = Console(io.StringIO(), io.StringIO())
    evaluation(recipe, split, CPU, journal, console, lambda s, ap: None, [])(state, timed(1))
    (line,) = journal.read()
    assert set(line) == {"event", "step", "box_ap", "box_ap50", "eval_s"}
