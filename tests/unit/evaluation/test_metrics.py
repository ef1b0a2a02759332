"""The table of metrics: what all that iterates it relies on."""

import subprocess
import sys

import pytest

from mimdet_cli.evaluation.metrics import (
    ACCURACIES,
    BEST,
    COSTS,
    HEADLINES,
    METRICS,
    TASKS,
    by_task,
)


def test_every_metric_has_a_key_and_a_paper_field_of_its_own():
    every = (*ACCURACIES, *COSTS)
    assert len(every) >= 29
    assert len(METRICS) == len(every)
    assert len({metric.paper.field for metric in every}) == len(every)
    assert len({metric.name for metric in every}) == len(every)


def test_every_task_has_one_headline_which_comes_first():
    assert list(HEADLINES) == list(TASKS)
    for task in TASKS:
        of_task = [metric for metric in ACCURACIES if metric.task == task]
        assert [metric for metric in of_task if metric.headline] == of_task[:1]
        assert len({metric.stat for metric in of_task}) == len(of_task)
    assert BEST.key == "box_ap"


def test_accuracies_are_grouped_by_the_tasks_that_were_scored():
    found = by_task({"box_ap75": 1.0, "box_ap": 2.0, "images": 3})
    assert {task: [metric.key for metric in of] for task, of in found.items()} == {
        "box": ["box_ap", "box_ap75"]
    }


@pytest.mark.parametrize(
    ("key", "value", "text", "shown"),
    [
        ("box_ap", None, "-", None),
        ("mask_ap_s", 41.25, "41.2", None),
        ("train_s", 7300.0, "7,300 s", "2.0 h"),
        ("train_s", 5.92, "6 s", "5.92 s"),
        ("step_s", 0.72714, "0.7271 s", "0.727 s"),
        ("peak_memory_gb", 1.5, "1.50 GB", "1.50 GB"),
        ("parameters", 3_889_338, "3,889,338", "3.89 M"),
        ("gmacs", 1234.567, "1,234.57", "1,234.6"),
    ],
)
def test_value_is_written_in_a_sentence_and_in_a_table(key, value, text, shown):
    metric = METRICS[key]
    assert metric.text(value) == text
    if shown is not None:
        assert metric.shown(value) == shown


def test_table_is_read_without_torch_or_numpy():
    code = (
        "import sys, mimdet_cli.evaluation.metrics;"
        "sys.exit(bool({'torch', 'numpy', 'pycocotools'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
