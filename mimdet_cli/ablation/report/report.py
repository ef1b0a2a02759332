"""The report of an ablation: for a terminal, and as Markdown, CSV, JSON and a plot in its folder.

reports/NAME.md     the same as on the terminal with more columns, and the plot; made to be pasted
reports/NAME.csv    a row for each cell
reports/NAME.json   everything, see `formats.to_json`
reports/NAME.png    box AP, see `plot`
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from mimdet_cli.ablation.layout import REPORTS
from mimdet_cli.ablation.plan import own_data
from mimdet_cli.ablation.read import shipped_names
from mimdet_cli.ablation.report.files import to_csv, to_json
from mimdet_cli.ablation.report.plot import draw
from mimdet_cli.ablation.report.summary import Summary
from mimdet_cli.ablation.report.tables import (
    Table,
    absent,
    ap_tables,
    claim_rows,
    cost_table,
    legend,
    state,
)
from mimdet_cli.errors import ResourceError
from mimdet_cli.evaluation.metrics import BEST
from mimdet_cli.files import write_text
from mimdet_cli.recipe.catalog import shipped
from mimdet_cli.text_table import markdown_table, text_table


def text(summary: Summary) -> list[str]:
    """Lines for a terminal."""
    record = summary.record
    lines = [f"{record.name}: {record.ablation.question}", record.ablation.source, state(summary)]
    for table in _tables(summary, full=False):
        lines += ["", table.title, *text_table(table.headers, table.rows, figures=True).split("\n")]
    lines += ["", *legend(summary)]
    lines += _listed("what differs from the paper:" if _has_paper(summary) else "how it was run:",
                     _plain(summary.differs))  # fmt: skip
    if claims := claim_rows(summary):
        lines += ["", "claims:"]
        for says, verdict, numbers in claims:
            lines += [f"  {verdict:9s}  {says}", f"             {numbers}"]
    lines += _listed("notes:", record.ablation.notes)
    return lines + ([""] if absent(summary) else []) + absent(summary)


def markdown(summary: Summary, picture: str | None = None) -> str:
    """The report as a section of a Markdown file; `picture` is the path of the plot from there."""
    record = summary.record
    parts = [
        f"## {record.name}",
        f"{record.ablation.question} ({record.ablation.source})",
        f"```bash\n{command(summary)}\n```",
        state(summary),
        f"![{BEST.name} of {record.name}]({picture or f'{record.name}.png'})",
    ]
    for table in _tables(summary, full=True):
        parts += [f"**{_capital(table.title)}**", markdown_table(table.headers, table.rows)]
    parts.append(" ".join(legend(summary)))
    if claims := claim_rows(summary):
        rows = [(says, f"**{verdict}**", numbers) for says, verdict, numbers in claims]
        parts += ["**Claims**, judged by rules that were written before anything ran"]
        parts += [markdown_table(["claim", "verdict", "numbers"], rows)]
    title = "**What differs from the paper**" if _has_paper(summary) else "**How it was run**"
    parts += [title, _bullets(summary.differs)]
    if record.ablation.notes:
        parts += ["**Notes**", _bullets(record.ablation.notes)]
    if missing := absent(summary):
        parts += ["**Not in the table**", _bullets(missing)]
    return "\n\n".join(parts) + "\n"


def command(summary: Summary) -> str:
    """What runs the same again, but for the folders."""
    record = summary.record
    shipped_one = record.name in shipped_names()
    words = ["mimdet", "ablate", record.name if shipped_one else f"{record.name}.yaml"]
    if record.base != record.own_base:
        words += ["--base", _short(record.base)]
    if record.data != own_data.IDENTITY and summary.split is not None:
        words += ["--data", summary.split.name]
    if record.seeds != record.ablation.seeds:
        words += ["--seeds", str(len(record.seeds))]
    words += [word for one in record.overrides for word in ("--set", one)]
    words += [word for one in record.added for word in ("--add", one)]
    return shlex.join(words)


def write(summary: Summary, out: Path) -> list[Path]:
    """Write every form into the ablation's folder; the paths."""
    folder, name = out / REPORTS, summary.record.name
    paths = [folder / f"{name}.{kind}" for kind in ("md", "csv", "json", "png")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(paths[0], markdown(summary))
        write_text(paths[1], to_csv(summary))
        values = to_json(summary, command(summary))
        write_text(
            paths[2], json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )
        draw(summary, paths[3])
    except OSError as error:
        raise ResourceError(
            f"the report cannot be written: {error.strerror}.",
            where=str(folder),
            fix="free some space, or copy the folder to where it can be written.",
        ) from error
    return paths


def _tables(summary: Summary, *, full: bool) -> list[Table]:
    cost = cost_table(summary)
    return [*ap_tables(summary, full=full), *([] if cost is None else [cost])]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _plain(lines: Sequence[str]) -> list[str]:
    return [line.replace("`", "") for line in lines]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _has_paper(summary: Summary) -> bool:
    return bool(summary.record.ablation.paper)


def _short(recipe: str) -> str:
    """A recipe as it is given on the command line."""
    return recipe if shipped(recipe) is None else Path(recipe).stem
