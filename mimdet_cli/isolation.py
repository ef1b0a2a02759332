"""Load a backbone in a process of its own, so that whatever its package does hurts nobody else.

    python -m mimdet_cli.isolation DISTRIBUTION:NAME FILE

is that process; it writes the JSON schema of the backbone's options, or what is wrong, to FILE.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mimdet_cli import plugins
from mimdet_cli.errors import MimdetError
from mimdet_cli.plugins import Claim

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """How loading went: the schema of the options, or what is wrong and where."""

    options: dict[str, Any] | None
    problem: str = ""
    where: str = ""


def load_safely(claim: Claim, timeout_s: float = TIMEOUT_S) -> Loaded:
    """Load one of ours here, a third party's apart."""
    return _load_here(claim.full) if claim.ours else load_apart(claim, timeout_s)


def load_apart(claim: Claim, timeout_s: float) -> Loaded:
    """Load `claim` in another process, which is ended after `timeout_s`.

    What the package prints is dropped. The process is given this one's import path, and leads a
    group of its own, so that what it may have started ends with it.
    """
    with TemporaryDirectory(prefix="mimdet-") as folder:
        file = Path(folder) / "loaded.json"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mimdet_cli.isolation", claim.full, str(file)],
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
            return Loaded(None, f"its import took longer than {timeout_s:g} s")
        finally:
            _end(process)
        if not file.is_file():
            return Loaded(None, f"its import ended the process: {_ending(code)}")
        return Loaded(**json.loads(file.read_text(encoding="utf-8")))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it started, if anything of it is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of it has ended by itself
    process.wait()


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _load_here(name: str) -> Loaded:
    try:
        plugins.load(name)  # before torch is, so that what fails early fails fast
        from mimdet_cli.backbone_class import backbone_class

        return Loaded(backbone_class(name).Options.model_json_schema())
    except MimdetError as error:
        return Loaded(None, error.what, error.where)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asdict(_load_here(sys.argv[1]))), encoding="utf-8")
