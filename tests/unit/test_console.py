"""Results go to stdout, the log to stderr; off a terminal only plain lines."""

import io
import json
import re

import pytest

from mimdet_cli.console import Console, clock
from mimdet_cli.errors import MimdetError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def pair() -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(out, err), out, err


def test_story_and_result_go_to_different_streams():
    console, out, err = pair()
    console.say("reading")
    console.warn("a box is odd")
    console.result(["box AP 51.7", "mask AP 46.1"])
    assert err.getvalue() == "reading\nwarning: a box is odd\n"
    assert out.getvalue() == "box AP 51.7\nmask AP 46.1\n"


def test_mapping_is_printed_as_json_and_not_a_number_is_refused():
    console, out, _ = pair()
    console.result({"box": {"AP": 51.7, "APs": None}})
    assert json.loads(out.getvalue()) == {"box": {"AP": 51.7, "APs": None}}
    with pytest.raises(ValueError, match="JSON compliant"):
        console.result({"AP": float("nan")})


def test_every_error_of_a_stage_is_printed():
    console, out, err = pair()
    console.error(
        MimdetError.joined([MimdetError("one.", where="a", fix="b."), MimdetError("two.")])
    )
    assert err.getvalue() == "error: one.\n  at:  a\n  fix: b.\nerror: two.\n"
    assert out.getvalue() == ""


def test_table_aligns_its_columns():
    console, out, _ = pair()
    console.table(("name", "AP"), [("base_50pct", 51.7), ("demo", "-")])
    assert out.getvalue() == "name        AP\nbase_50pct  51.7\ndemo        -\n"


def test_table_on_a_narrow_terminal_wraps_its_cells_and_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    out = Terminal()
    Console(out, out).table(("name", "about"), [("vit_large_3x", "a [b] long story " * 4)])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 30 + len("\x1b[1m\x1b[0m") * 4  # codes of the bold header
    assert out.getvalue().count("[b]") == 4
    assert len(lines) > 3
    assert lines[1].startswith("vit_large_3x  a [b]")


def test_training_off_a_terminal_prints_a_line_every_so_many_steps_and_the_last():
    console, out, err = pair()
    with console.steps(300, start=38, every=20) as progress:
        for step in (39, 40, 41, 300):
            progress.update(step, loss=1.2341, lr=1e-4, step_s=0.52)
    assert err.getvalue().splitlines()[0] == (
        "step 40/300  loss 1.234  lr 1.0e-04  0.52 s/step  eta 2:15"
    )
    assert [line.split()[1] for line in err.getvalue().splitlines()] == ["40/300", "300/300"]
    assert out.getvalue() == ""


def test_short_progress_off_a_terminal_is_one_line():
    console, _, err = pair()
    with console.items(3, "evaluating") as progress:
        for _ in range(3):
            progress.advance()
    assert err.getvalue() == "evaluating 3/3  took 0:00\n"


def test_terminal_shows_a_bar_with_loss_rate_and_remaining_time(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    err = Terminal()
    console = Console(io.StringIO(), err)
    with console.steps(10, every=20) as training:
        training.update(5, loss=1.5, lr=1e-4, step_s=2.0)
        console.say("said above the bar")
        with console.items(2, "evaluating") as inner:
            inner.advance(2)
        training.update(10, loss=0.5, lr=1e-5, step_s=2.0)
    shown = err.getvalue()
    assert "said above the bar" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "10/10 loss 0.500  lr 1.0e-05" in plain


@pytest.mark.parametrize(("no_colour", "coloured"), [("1", False), ("", True)])
def test_no_color_is_honoured_on_a_terminal(monkeypatch, no_colour, coloured):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_colour)
    err = Terminal()
    Console(io.StringIO(), err).warn("a [box] is odd")
    assert "a [box] is odd" in err.getvalue()
    assert ("\x1b[33m" in err.getvalue()) is coloured


def test_no_colour_codes_off_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console, _, err = pair()
    console.warn("odd")
    assert "\x1b" not in err.getvalue()


def test_clock_grows_with_the_time():
    assert [clock(s) for s in (7.2, 135, 3735)] == ["0:07", "2:15", "1:02:15"]
