"""What many tests need: the command line as a function, a tiny recipe, small data, a run."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mimdet_cli.main import main


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: exit code, stdout and stderr."""

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


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights: one of the test's own, which is not made yet."""
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="session")
def tiny() -> Path:
    """A recipe that trains in a second."""
    return Path(__file__).resolve().parent / "tiny.yaml"


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set of 8 and 4 images; not to be changed."""
    from mimdet_cli.data.synthetic import write_demo

    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_demo(folder, train=8, val=4)
    return folder


@pytest.fixture
def own_shapes(shapes: Path, tmp_path: Path) -> Path:
    """A copy of `shapes` that a test may spoil."""
    return Path(shutil.copytree(shapes, tmp_path / "shapes"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: Path, shapes: Path) -> Path:
    """The run folder of the tiny recipe on `shapes`; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", str(tiny), "--data", str(shapes), "--out", str(run)]) == 0
    return run
