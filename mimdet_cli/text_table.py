"""Text tables: aligned columns, with or without a header, and Markdown.

Numbers are right-aligned; None is "-".
"""

from collections.abc import Sequence

Cell = str | int | float | None


def align(rows: Sequence[Sequence[object]], *, right: bool = False) -> list[str]:
    """Rows as lines, columns two spaces apart; `right` right-aligns all but the first column."""
    cells = [[str(cell) for cell in row] for row in rows]
    columns = len(cells[0]) if cells else 0
    padded, _ = _padded(cells, [right and column > 0 for column in range(columns)])
    return ["  ".join(row).rstrip() for row in padded]


def text_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    digits: int = 1,
    *,
    figures: bool = False,
) -> str:
    """Columns two spaces apart under an underlined header, without a final newline.

    With `figures`, all columns but the first hold figures as text, such as "0.1 to 0.4": they are
    right-aligned among themselves, at the left edge of a wider header.
    """
    cells, right = _shown_cells(headers, rows, digits)
    if figures and rows:
        later = [column > 0 for column in range(len(headers))]
        body, widths = _padded(cells[1:], later)
        head = [
            name.rjust(width) if flush else name
            for name, width, flush in zip(headers, widths, later, strict=True)
        ]
        cells, right = [head, *body], [False] * len(headers)
    padded, widths = _padded(cells, right)
    lines = ["  ".join(row).rstrip() for row in padded]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int = 1) -> str:
    """A Markdown table with aligned source, without a final newline."""
    cells, right = _shown_cells(headers, rows, digits)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    padded, widths = _padded(cells, right, least=3)
    rules = [
        "-" * (width - 1) + ":" if to_right else "-" * width
        for width, to_right in zip(widths, right, strict=True)
    ]
    padded.insert(1, rules)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _padded(
    cells: Sequence[Sequence[str]], right: Sequence[bool], least: int = 0
) -> tuple[list[list[str]], list[int]]:
    """Every cell padded to the width of its column, and the widths."""
    widths = [max(least, *map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        for row in cells
    ]
    return rows, widths


def _shown_cells(
    headers: Sequence[str], rows: Sequence[Sequence[Cell]], digits: int
) -> tuple[list[list[str]], list[bool]]:
    """All cells as text, header first, and which columns are numeric."""
    right = [
        bool(rows) and all(not isinstance(row[column], str) for row in rows)
        for column in range(len(headers))
    ]
    return [list(headers), *([_shown(cell, digits) for cell in row] for row in rows)], right


def _shown(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)
