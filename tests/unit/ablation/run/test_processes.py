"""Shards, commands and what is asked for before the first run."""

import pytest

from mimdet_cli.ablation.run.processes import commands, of_shard, parse_shard, require_data
from mimdet_cli.errors import DataError, RecipeError
from mimdet_cli.main import main

CHAIN = """
    variants:
      a: {}
      b: {train.clip: 1.0}
      c: {after: a, train.clip: 2.0}
      d: {after: c, train.clip: 3.0}
      e: {train.clip: 4.0}
"""


def test_shards_keep_a_run_with_the_one_it_starts_from(planned):
    runs = planned(CHAIN, seeds=2).runs
    parts = [of_shard(runs, (number, 3)) for number in (1, 2, 3)]
    assert sorted(run.hash for part in parts for run in part) == sorted(run.hash for run in runs)
    first = {run.label for run in parts[0] if run.seed == 0}
    assert first == {"a", "c", "d"}
    for part in parts:
        here = {run.hash for run in part}
        assert {run.parent for run in part} <= {None, *here}


def test_each_run_is_after_the_one_that_it_starts_from(planned):
    runs = planned(CHAIN, seeds=2).runs
    place = {run.hash: number for number, run in enumerate(runs)}
    assert all(run.parent is None or place[run.parent] < place[run.hash] for run in runs)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "1/0"])
def test_shard_that_is_none_is_refused(text):
    with pytest.raises(RecipeError, match="is not a shard"):
        parse_shard(text)


def test_command_of_a_run_names_everything_that_was_asked_for(planned):
    plan = planned("", overrides=("optimizer.betas=[0.9, 0.99]",), seeds=1, added=("vit_adapter",))
    (_, second) = commands(plan, "cpu")
    shapes = plan.request.data
    assert second == (
        f"mimdet ablate mine.yaml --data {shapes} --seeds 1 "
        "--set 'optimizer.betas=[0.9, 0.99]' --add vit_adapter --out out --device cpu "
        f"--cell {plan.runs[1].hash}"
    )


def test_command_as_printed_is_understood(planned, capsys):
    plan = planned("", seeds=1)
    words = ["ablate", *plan.request.arguments(), "--out", "out", "--commands"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == commands(plan, None)


def test_missing_data_are_reported_before_the_first_run(planned, tmp_path):
    plan = planned("axes: {train.clip: [1.0, 2.0]}", data=tmp_path / "nothing")
    assert plan.data is None
    with pytest.raises(DataError) as caught:
        require_data(plan)
    assert len(caught.value.each()) == 4  # files and folders of two splits, once for all runs
