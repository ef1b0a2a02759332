"""All terminal output: results to stdout, the log to stderr; Rich is used on a terminal only."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from mimdet_cli.errors import MimdetError
from mimdet_cli.text_table import align

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

QUIET_S = 10.0


class Console:
    """Writes results and the log; in colour with live progress bars on a terminal."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._bars: RichProgress | None = None

    def say(self, text: str) -> None:
        """Log one line."""
        self._log(text)

    def warn(self, text: str) -> None:
        """Log a warning."""
        self._log(f"warning: {text}", style="yellow")

    def error(self, error: MimdetError) -> None:
        """Log an error and those reported with it: what, where and how to fix it."""
        for part in error.each():
            self._log(f"error: {part.what}", style="bold red")
            if part.where:
                self._log(f"  at:  {part.where}")
            if part.fix:
                self._log(f"  fix: {part.fix}")

    def result(self, value: str | Sequence[str] | Mapping[str, Any]) -> None:
        """Print lines as they are, a mapping as JSON."""
        if isinstance(value, Mapping):
            text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        else:
            text = value if isinstance(value, str) else "\n".join(value)
        self._out.write(f"{text}\n")
        self._out.flush()

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print left-aligned columns.

        On a terminal, long cells wrap, except in the first column, which names the row.
        """
        if not self._out.isatty():
            self.result(align([header, *rows]))
            return
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for index, name in enumerate(header):
            table.add_column(name, overflow="fold", no_wrap=index == 0)
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))
        RichConsole(file=self._out).print(table)

    @contextmanager
    def steps(self, total: int, *, start: int = 0, every: int = 20) -> Iterator["StepLine"]:
        """Progress of `total` steps after `start`; off a terminal, a line every `every` steps."""
        with self._bar("training", total, start) as bar:
            yield StepLine(self, bar, total, start, every)

    @contextmanager
    def items(self, total: int, label: str) -> Iterator["ItemLine"]:
        """Progress of `total` items."""
        with self._bar(label, total, 0) as bar:
            yield ItemLine(self, bar, total, label)

    def _log(self, text: str, style: str | None = None) -> None:
        if not self._err.isatty():
            self._err.write(f"{text}\n")
            self._err.flush()
            return
        from rich.console import Console as RichConsole

        rich = self._bars.console if self._bars else RichConsole(file=self._err)
        rich.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _bar(self, label: str, total: int, done: int) -> Iterator["Bar | None"]:
        """A bar of the live display; None off a terminal. Bars may be nested."""
        if not self._err.isatty():
            yield None
            return
        outermost = self._bars is None
        bars = self._bars or _rich_progress(self._err)
        self._bars = bars
        if outermost:
            bars.start()
        task = bars.add_task(label, total=total, completed=done, note="")
        try:
            yield Bar(bars, task)
        finally:
            if outermost:
                bars.stop()
                self._bars = None
            else:
                bars.remove_task(task)


class Bar:
    """One bar of the live display."""

    def __init__(self, bars: "RichProgress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def set(self, done: int, note: str = "") -> None:
        """Show that `done` items are finished."""
        self._bars.update(self._task, completed=done, note=note)


class StepLine:
    """Shows step, loss, learning rate, speed and remaining time of a training run."""

    def __init__(
        self, console: Console, bar: Bar | None, total: int, start: int, every: int
    ) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._every = every
        self._first = start
        self._spent_s = 0.0

    def update(self, step: int, *, loss: float, lr: float, step_s: float) -> None:
        """Report step `step` (from 1); `step_s` excludes evaluation and saving."""
        self._spent_s += step_s
        mean_s = self._spent_s / max(step - self._first, 1)
        left_s = mean_s * (self._total - step)
        note = f"loss {loss:.3f}  lr {lr:.1e}  {mean_s:.2f} s/step  eta {clock(left_s)}"
        if self._bar:
            self._bar.set(step, note)
        elif step % self._every == 0 or step == self._total:
            self._console.say(f"step {step}/{self._total}  {note}")


class ItemLine:
    """Counts finished items; off a terminal, one line per ten seconds at most, and a last one."""

    def __init__(self, console: Console, bar: Bar | None, total: int, label: str) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._label = label
        self._done = 0
        self._began = self._printed = time.monotonic()

    def advance(self, items: int = 1) -> None:
        """Count `items` more as finished."""
        self._done += items
        now = time.monotonic()
        left_s = (now - self._began) / self._done * (self._total - self._done)
        if self._bar:
            self._bar.set(self._done, f"eta {clock(left_s)}")
        elif self._done == self._total:
            took = clock(now - self._began)
            self._console.say(f"{self._label} {self._done}/{self._total}  took {took}")
        elif now - self._printed >= QUIET_S:
            self._printed = now
            self._console.say(f"{self._label} {self._done}/{self._total}  eta {clock(left_s)}")


def clock(seconds: float) -> str:
    """Seconds as 0:07, 2:15 or 1:02:15."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def _rich_progress(stream: TextIO) -> "RichProgress":
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        console=RichConsole(file=stream),
    )
