"""The rows of the tables of an AP report."""

from collections.abc import Mapping
from typing import Any

from mimdet_cli.evaluation.metrics import HEADLINES, by_task
from mimdet_cli.text_table import Cell


def ap_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of an AP report, given as its JSON record; masks only if scored."""
    tasks = by_task(report)
    values = {task: {one.label: report[one.key] for one in tasks[task]} for task in tasks}
    labels = list(dict.fromkeys(label for row in values.values() for label in row))
    rows: list[list[Cell]] = [
        [task, *(row.get(label) for label in labels)] for task, row in values.items()
    ]
    return ["", *labels], rows


def class_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of the AP of every class, in the order of the report."""
    shown = [one for one in HEADLINES.values() if one.key in report]
    rows: list[list[Cell]] = [
        [name, *(ap[one.key] for one in shown)] for name, ap in report["per_class"].items()
    ]
    return ["class", *(one.name for one in shown)], rows
