"""Run one command; the only place that turns errors into messages and exit codes.

The command table is imported late, so that `integrity.check` runs before `heads` and `backbones`
are imported.
"""

import errno
import os
import sys
from collections.abc import Sequence

import typer

from mimdet_cli import integrity, plugins
from mimdet_cli.console import Console
from mimdet_cli.errors import MimdetError, ResourceError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with plugins.only_ours("--no-plugins" in words):
        return _run(
            [word for word in words if word not in ("--traceback", "--no-plugins")],
            wants_traceback="--traceback" in words,
        )


def _run(words: list[str], *, wants_traceback: bool) -> int:
    try:
        integrity.check()
        from mimdet_cli.app import app

        code = app(words, prog_name="mimdet", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # stdout was closed by its reader, such as `head`; silence the flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.TyperException as error:
        return _usage_error(error)
    except BaseException as error:
        if wants_traceback or isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _fail(error)
    if code == INTERRUPTED:
        Console().say("interrupted")
    return code if isinstance(code, int) else 0


def _usage_error(error: typer.TyperException) -> int:
    console = Console()
    if type(error).__name__ == "NoArgsIsHelpError":  # how Typer shows help; not public
        console.say(error.format_message())
        return MimdetError.exit_code
    context = getattr(error, "ctx", None)
    verb = context.command_path if context else "mimdet"
    message = error.format_message()
    console.error(MimdetError(message, fix=f"see `{verb} --help`."))
    return MimdetError.exit_code


def _fail(error: BaseException) -> int:
    """Print an error and return its exit code; unknown errors are reported as bugs."""
    known = error if isinstance(error, MimdetError) else _resource_error(error)
    known = known or plugins.blame(error)
    if known is not None:
        Console().error(known)
        return known.exit_code
    text = " ".join(str(error).split())
    Console().error(
        MimdetError(
            f"this is a bug in mimdet: {type(error).__name__}: {text}",
            fix="run the command again with --traceback, and report the output.",
        )
    )
    return 1


def _resource_error(error: BaseException) -> ResourceError | None:
    """Exhausted memory, disk or shared memory, or a missing permission; None if it is another."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _memory_error()
    if isinstance(error, RuntimeError) and "can't allocate memory" in text:
        return _memory_error()
    if isinstance(error, RuntimeError) and "shared memory" in text:
        return ResourceError(
            "the data loading processes ran out of shared memory.",
            where="/dev/shm",
            fix="increase it (docker: --shm-size 8g), or use --set data.workers=0.",
        )
    if not isinstance(error, OSError):
        return None
    where = str(error.filename) if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("the disk is full.", where=where, fix="free some space.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            "permission denied for this file or folder.",
            where=where,
            fix="change its permissions, or choose another location.",
        )
    return None


def _memory_error() -> ResourceError:
    return ResourceError(
        "not enough memory.",
        fix="lower train.batch or data.max_side, or raise train.accumulate.",
    )
