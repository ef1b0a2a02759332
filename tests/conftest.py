"""The command line as a function, for every test that types a command."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mimdet_cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code, result and story."""

    code: int
    out: str
    err: str


Mimdet = Callable[..., Outcome]


@pytest.fixture
def mimdet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Mimdet:
    """Run `mimdet ARGUMENTS` in this process, in a terminal 100 columns wide that is not a TTY."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
