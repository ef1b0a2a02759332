"""A package is loaded in a process that ends with all it started."""

import os
import time
from pathlib import Path

import pytest
from installing import install

from mimdet_cli import plugins
from mimdet_cli.isolation import Question, run_isolated

SPAWNS = """\
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
Path(__file__).with_name("pid").write_text(str(child.pid))
time.sleep(60)
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(plugins.SWITCH, raising=False)
    return tmp_path


def test_process_that_an_import_started_ends_with_it(site):
    install(site, "spawns", "spawns = spawns_module:X", SPAWNS)
    answer = run_isolated("spawns", Question(), timeout_s=10)
    assert answer.problem == "its import took longer than 10 s"
    pid = int((site / "pid").read_text())
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is left")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("input('password: ')", "cannot be loaded: EOFError: EOF when reading a line"),
        ("print('x' * 10**6)\nimport sys\nsys.exit('bye')", "cannot be loaded: SystemExit: bye"),
        ("import os\nos.abort()", "its import ended the process: SIGABRT"),
        ("raise KeyboardInterrupt", "its import ended the process: SIGINT"),
    ],
)
def test_whatever_an_import_does_becomes_a_reason(site, capfd, source, problem):
    install(site, "odd", "odd = odd_module:X", source)
    answer = run_isolated("odd", Question(), timeout_s=60)
    assert answer.schema is None
    assert problem in answer.problem
    assert capfd.readouterr() == ("", "")
