"""Ask about a backbone in a process of its own, so that what its package does hurts nobody else.

    python -m mimdet_cli.backbone_options NAME QUESTION ANSWER

is that process: it reads the question from one file, and writes the answer into the other.
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
from mimdet_cli.plugins import NameClaim
from mimdet_cli.recipe.reading import Origin

TIMEOUT_S = 60.0
"""Time for one package of a list."""
LONG_S = 600.0
"""Time for the package that a user names."""
KINDS: dict[str, type[MimdetError]] = {kind.__name__: kind for kind in (RecipeError, PluginError)}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the schema of the options and, if there are `values`, whether they are right.

    `origins` say where the values were set. With `whole` the class is loaded and checked as well,
    also where the options can be had without it.
    """

    whole: bool = True
    values: Mapping[str, Any] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The schema, and the values with the defaults; or what is wrong.

    `ended` says how the process ended where it gave no answer, `traceback` where an error was
    raised.
    """

    schema: dict[str, Any] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    errors: tuple[MimdetError, ...] = ()
    traceback: str = ""
    ended: str = ""

    @property
    def problem(self) -> str:
        """What is wrong, in a line; empty where nothing is."""
        return self.ended or "".join(error.what for error in self.errors[:1])

    @property
    def where(self) -> str:
        """The place of what is wrong, where there is one."""
        return "".join(error.where for error in self.errors[:1])

    def checked(self, claim: NameClaim) -> "Answer":
        """This answer; raises what is wrong with the backbone of `claim` or with the values."""
        if self.ended:
            raise plugins.not_loaded(claim, self.ended, f"{claim.value} of {claim.provider}")
        if self.errors:
            error = MimdetError.joined(self.errors)
            error.add_note(self.traceback)
            raise error
        return self

    def to_json(self) -> dict[str, Any]:
        """What the other process writes."""
        told = [
            {"kind": type(one).__name__, "what": one.what, "where": one.where, "fix": one.fix}
            for one in self.errors
        ]
        return {**asdict(self), "errors": told}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Answer":
        """What it has written, read."""
        errors = (
            KINDS.get(one["kind"], MimdetError)(one["what"], where=one["where"], fix=one["fix"])
            for one in written["errors"]
        )
        return cls(**{**written, "errors": tuple(errors)})


def ask_apart(name: str, question: Question, timeout_s: float) -> Answer:
    """The answer of another process, which is ended after `timeout_s`.

    What the package prints is dropped. The process is given this one's import path, and leads a
    group of its own, so that what it may have started ends with it.
    """
    with TemporaryDirectory(prefix="mimdet-") as folder:
        asked, answered = Path(folder) / "question.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(asdict(question)), encoding="utf-8")
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "mimdet_cli.backbone_options",
                name,
                str(asked),
                str(answered),
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
            _end(process)
        if not answered.is_file():
            return Answer(ended=f"its import ended the process: {_ending(code)}")
        return Answer.from_json(json.loads(answered.read_text(encoding="utf-8")))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it started, if anything of it is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of it has ended by itself
    process.wait()


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
