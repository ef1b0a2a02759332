"""The only printer: results go to stdout, the story to stderr, Rich is used on a terminal only."""

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
    """Writes to the two streams; on a terminal with colour and live progress, else plain lines."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._bars: RichProgress | None = None

    def say(self, text: str) -> None:
        """One line of the story."""
        self._tell(text)

    def warn(self, text: str) -> None:
        """One line of the story that should not be overlooked."""
        self._tell(f"warning: {text}", style="yellow")

    def error(self, error: MimdetError) -> None:
        """Every mistake of a stage: what, where, and what to do."""
        for one in error.each():
            self._tell(f"error: {one.what}", style="bold red")
            if one.where:
                self._tell(f"  at:  {one.where}")
            if one.fix:
                self._tell(f"  fix: {one.fix}")

    def result(self, value: str | Sequence[str] | Mapping[str, Any]) -> None:
        """Lines as they are; a mapping as JSON."""
        if isinstance(value, Mapping):
            text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        else:
            text = value if isinstance(value, str) else "\n".join(value)
        self._out.write(f"{text}\n")
        self._out.flush()

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns of text, left-aligned and two spaces apart.

        A terminal wraps long cells, but for the first column, which names the row.
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
        """Progress of `total` steps, of which `start` are done; a plain line every `every`."""
        with self._bar("training", total, start) as bar:
            yield StepLine(self, bar, total, start, every)

    @contextmanager
    def items(self, total: int, label: str) -> Iterator["ItemLine"]:
        """Progress of `total` items."""
        with self._bar(label, total, 0) as bar:
            yield ItemLine(self, bar, total, label)

    def _tell(self, text: str, style: str | None = None) -> None:
        if not self._err.isatty():
            self._err.write(f"{text}\n")
            self._err.flush()
            return
        from rich.console import Console as RichConsole

        rich = self._bars.console if self._bars else RichConsole(file=self._err)
        rich.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _bar(self, label: str, total: int, done: int) -> Iterator["Bar | None"]:
        """A line of the live display; None off a terminal. Bars may be nested."""
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
    """One line of the live display."""

    def __init__(self, bars: "RichProgress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def set(self, done: int, note: str = "") -> None:
        """Show that `done` items are done."""
        self._bars.update(self._task, completed=done, note=note)


class StepLine:
    """Shows the step, loss, learning rate, speed and remaining time of a training run."""

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
        """Step number `step` (from 1) took `step_s` seconds, without evaluation and saving."""
        self._spent_s += step_s
        mean_s = self._spent_s / max(step - self._first, 1)
        left_s = mean_s * (self._total - step)
        note = f"loss {loss:.3f}  lr {lr:.1e}  {mean_s:.2f} s/step  eta {clock(left_s)}"
        if self._bar:
            self._bar.set(step, note)
        elif step % self._every == 0 or step == self._total:
            self._console.say(f"step {step}/{self._total}  {note}")


class ItemLine:
    """Shows how many items are done; plain lines at most every ten seconds, and at the end."""

    def __init__(self, console: Console, bar: Bar | None, total: int, label: str) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._label = label
        self._done = 0
        self._began = self._spoke = time.monotonic()

    def advance(self, items: int = 1) -> None:
        """`items` more are done."""
        self._done += items
        now = time.monotonic()
        left_s = (now - self._began) / self._done * (self._total - self._done)
        if self._bar:
            self._bar.set(self._done, f"eta {clock(left_s)}")
        elif self._done == self._total:
            took = clock(now - self._began)
            self._console.say(f"{self._label} {self._done}/{self._total}  took {took}")
        elif now - self._spoke >= QUIET_S:
            self._spoke = now
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
