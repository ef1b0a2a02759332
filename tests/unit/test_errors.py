"""Errors carry what, where and fix; `main` turns each kind into its message and exit code."""

import errno

import pytest

from mimdet_cli.errors import (
    DataError,
    DivergedError,
    MimdetError,
    PluginError,
    RecipeError,
    ResourceError,
    WeightsError,
)


def test_each_kind_has_its_own_exit_code():
    kinds = (RecipeError, DataError, WeightsError, PluginError, ResourceError, DivergedError)
    assert [kind.exit_code for kind in kinds] == [2, 3, 4, 5, 6, 7]


def test_text_of_an_error_leaves_out_what_is_empty():
    assert str(MimdetError("a", where="b", fix="c")) == "a; at: b; fix: c"
    assert str(MimdetError("a")) == "a"


def test_joined_errors_keep_their_order_and_those_they_already_carry():
    one = MimdetError.joined([MimdetError("a"), MimdetError("b")])
    two = MimdetError.joined([MimdetError("c"), MimdetError("d")])
    assert [error.what for error in MimdetError.joined([one, two]).each()] == list("abcd")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (
            DataError("x is broken.", where="a.json", fix="mend it."),
            3,
            "error: x is broken.\n  at:  a.json\n  fix: mend it.\n",
        ),
        (
            MemoryError(),
            6,
            "error: not enough memory.\n"
            "  fix: lower train.batch or data.max_side, or raise train.accumulate.\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            6,
            "error: the disk is full.\n  at:  runs/x\n  fix: free some space.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            6,
            "error: permission denied for this file or folder.\n  at:  runs\n"
            "  fix: change its permissions, or choose another location.\n",
        ),
        (
            RuntimeError("unable to open shared memory object </torch_1> in read-write mode"),
            6,
            "error: the data loading processes ran out of shared memory.\n  at:  /dev/shm\n"
            "  fix: increase it (docker: --shm-size 8g), or use --set data.workers=0.\n",
        ),
        (
            KeyError("surprise"),
            1,
            "error: this is a bug in mimdet: KeyError: 'surprise'\n"
            "  fix: run the command again with --traceback, and report the output.\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_a_command_raises_becomes_one_message_and_an_exit_code(
    mimdet, monkeypatch, raised, code, message
):
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("mimdet_cli.commands.train.load_recipe", fail)
    outcome = mimdet("train", "demo")
    assert (outcome.code, outcome.out, outcome.err) == (code, "", message)


def test_traceback_option_shows_the_traceback_wherever_it_stands(mimdet):
    with pytest.raises(RecipeError):
        mimdet("train", "nowhere", "--traceback")
    with pytest.raises(RecipeError):
        mimdet("--traceback", "train", "nowhere")
