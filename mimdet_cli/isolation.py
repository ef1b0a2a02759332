"""Inspect a backbone in a separate process, so that its package cannot crash or hang this one.

    python -m mimdet_cli.backbone_options NAME QUESTION ANSWER

is that process: it reads the question from one file and writes the answer to the other.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mimdet_cli import plugins
from mimdet_cli.errors import MimdetError, PluginError, RecipeError
from mimdet_cli.plugins import Registration
from mimdet_cli.recipe.reading import Origin

TIMEOUT_S = 60.0
"""Timeout per package when several are listed."""
LONG_S = 600.0
"""Timeout for a package that the user names."""
KINDS: dict[str, type[MimdetError]] = {kind.__name__: kind for kind in (RecipeError, PluginError)}


@dataclass(frozen=True, slots=True)
class Question:
    """A request for the schema of a backbone's options and, given `values`, their validation.

    `origins` say where the values were set. With `whole`, the backbone class is loaded and checked
    even if the options can be loaded without it.
    """

    whole: bool = True
    values: Mapping[str, Any] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The schema, and the values with defaults filled in; or the errors.

    `ended` says how the process ended if it wrote no answer. `traceback` belongs to the errors.
    """

    schema: dict[str, Any] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    errors: tuple[MimdetError, ...] = ()
    traceback: str = ""
    ended: str = ""

    @property
    def problem(self) -> str:
        """The first problem in one line; empty if there is none."""
        return self.ended or "".join(error.what for error in self.errors[:1])

    @property
    def where(self) -> str:
        """Where the first problem is; empty if unknown."""
        return "".join(error.where for error in self.errors[:1])

    def checked(self, registration: Registration) -> "Answer":
        """This answer; raises if the backbone or the values have problems."""
        if self.ended:
            raise plugins.load_error(
                registration, self.ended, f"{registration.value} of {registration.provider}"
            )
        if self.errors:
            error = MimdetError.joined(self.errors)
            error.add_note(self.traceback)
            raise error
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        errors = [
            {
                "kind": type(error).__name__,
                "what": error.what,
                "where": error.where,
                "fix": error.fix,
            }
            for error in self.errors
        ]
        return {**asdict(self), "errors": errors}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Answer":
        """The inverse of `to_json`."""
        errors = (
            KINDS.get(error["kind"], MimdetError)(
                error["what"], where=error["where"], fix=error["fix"]
            )
            for error in data["errors"]
        )
        return cls(**{**data, "errors": tuple(errors)})


def run_isolated(name: str, question: Question, timeout_s: float) -> Answer:
    """Answer `question` in a new process, which is killed after `timeout_s`.

    Its output is discarded. It inherits this process's import path and leads its own process group,
    so that any children it starts are killed with it.
    """
    with TemporaryDirectory(prefix="mimdet-") as folder:
        question_file, answer_file = Path(folder) / "question.json", Path(folder) / "answer.json"
        question_file.write_text(json.dumps(asdict(question)), encoding="utf-8")
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "mimdet_cli.backbone_options",
                name,
                str(question_file),
                str(answer_file),
            ],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return Answer(ended=f"its import took longer than {timeout_s:g} s")
        finally:
            _kill_group(process)
        if not answer_file.is_file():
            return Answer(ended=f"its import ended the process: {_exit_reason(code)}")
        return Answer.from_json(json.loads(answer_file.read_text(encoding="utf-8")))


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and its children, if any are still running."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _exit_reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
