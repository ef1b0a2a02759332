"""A reader who types the commands of a document: an empty folder and a virtual environment.

The environment sees the packages of the one that runs the tests, and not the network. Commands are
typed as they are written; long ones get more words, by their first ones, that make them short.
"""

import os
import re
import subprocess
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NOT_RUN = "<!-- not run by the test -->\n"
BLOCK = re.compile(rf"({re.escape(NOT_RUN)})?```(\w+)(?: file=(\S+))?\n(.*?)```", re.DOTALL)
LAUNCHER = """\
#!{python}
import sys
from runpy import run_module

for words, more in {shorter}.items():
    if sys.argv[1 : 1 + len(words)] == list(words):
        sys.argv += more
sys.argv[0] = {module!r}
run_module({module!r}, run_name="__main__", alter_sys=True)
"""
PROGRAMS = {"mimdet": "mimdet_cli", "pip": "pip", "pytest": "pytest"}


@dataclass(frozen=True)
class Block:
    """A code block: its language, the file that it is, if any, and its text."""

    kind: str
    file: str | None
    text: str


def blocks(document: str) -> list[Block]:
    """The code blocks that are followed, in order."""
    found = BLOCK.findall(document)
    return [Block(kind, file or None, text) for skipped, kind, file, text in found if not skipped]


class Reader:
    """Runs scripts in `folder`; `shorter` maps first words of commands to the words added."""

    def __init__(
        self, root: Path, shorter: Mapping[tuple[str, ...], Sequence[str]], **environment: str
    ) -> None:
        self.folder, self.home = root / "folder", root / "venv"
        self.folder.mkdir()
        venv.create(self.home, with_pip=False)
        self.python = self.home / "bin" / "python"
        prefixes = {"base": str(self.home), "platbase": str(self.home)}
        self.site = Path(sysconfig.get_path("purelib", vars=prefixes))
        packages = sysconfig.get_path("purelib")
        (self.site / "parent.pth").write_text(f"import site; site.addsitedir({packages!r})\n")
        self.programs = root / "programs" / "bin"  # where pip does not replace them
        self.programs.mkdir(parents=True)
        for name, module in PROGRAMS.items():
            program = self.programs / name
            program.write_text(
                LAUNCHER.format(python=self.python, shorter=dict(shorter), module=module)
            )
            program.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "MIMDET_PLUGINS"},
            "PATH": os.pathsep.join(
                map(str, (self.programs, self.python.parent, os.environ["PATH"]))
            ),
            "MIMDET_WEIGHTS": str(root / "weights"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **environment,
        }

    def run(self, script: str, folder: Path | None = None) -> str:
        """What a `bash` block prints, errors included; it must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder or self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout
