"""Tables as aligned text for a terminal and as Markdown; numbers to the right, None as "-"."""

from collections.abc import Mapping, Sequence
from typing import Any

from mimdet_cli.evaluation.metrics import HEADLINES, by_task

Cell = str | int | float | None


def text_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int = 1) -> str:
    """Columns two spaces apart under a ruled heading, without a final newline."""
    cells, right = _cells(headers, rows, digits)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(_aligned(cell, width, to_right) for cell, width, to_right in _columns).rstrip()
        for _columns in (zip(line, widths, right, strict=True) for line in cells)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int = 1) -> str:
    """A Markdown table whose source is aligned too, without a final newline."""
    cells, right = _cells(headers, rows, digits)
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| "
        + " | ".join(_aligned(*column) for column in zip(line, widths, right, strict=True))
        + " |"
        for line in cells
    ]
    rules = [
        "-" * (width - 1) + ":" if to_right else "-" * width
        for width, to_right in zip(widths, right, strict=True)
    ]
    lines.insert(1, "| " + " | ".join(rules) + " |")
    return "\n".join(lines)


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


def _cells(
    headers: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int
) -> tuple[list[list[str]], list[bool]]:
    """All cells as text, the heading first, and which columns are numbers."""
    right = [
        bool(rows) and all(not isinstance(row[column], str) for row in rows)
        for column in range(len(headers))
    ]
    return [list(headers), *([_shown(cell, digits) for cell in row] for row in rows)], right


def _shown(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)


def _aligned(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
