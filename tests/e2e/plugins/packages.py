"""Packages with backbones, good and broken, built as wheels and installed by pip.

All wheels are built in one call of pip, and installed into folders of the import path: `good` has
the package of `mimdet backbones new`, `bad` one broken package of each kind, `rivals` two that
claim one name and one that claims a name of ours, `late` one that fails when it is
built and one with a regular expression for a rule, `slow` one whose import never ends.
"""

import subprocess
import sys
from pathlib import Path

from mimdet_cli.main import main

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "1.0"

[tool.setuptools]
py-modules = ["{module}"]

[project.entry-points."mimdet.backbones"]
{name} = "{module}:Theirs"
"""
TRACE = "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n"
OLD = """\
from mimdet_cli.plugin_api import Backbone
class Theirs(Backbone):
    contract = 0
"""
VERSION_1 = """\
from mimdet_cli.plugin_api import Backbone, BackboneOptions
class Theirs(Backbone):
    Options = BackboneOptions
    def __init__(self, options):
        super().__init__()
        self.options = options
    @classmethod
    def from_options(cls, options):
        return cls(options)
"""
LATE = "raise ValueError('no weights at hand')"
TEMPLATE, REGEX = '"{patch_embed|blocks}.{rest}"', r'r"(patch_embed|blocks)\..*"'
BAD = {
    "crashes": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "exits": "import sys\nsys.exit(0)\n",
    "leaves": "import os\nos._exit(0)\n",
    "misspelt": "class Theirs(:\n",
    "needs": "import not_installed_anywhere\n",
    "no_class": "class Other: pass\n",
    "no_backbone": "def Theirs(): pass\n",
    "outdated": OLD,
    "version_1": VERSION_1,
}
FAULTS = {
    "exits": ("cannot be loaded: SystemExit: 0", ", line 4, of"),
    "misspelt": ("cannot be loaded: SyntaxError: invalid syntax", ", line 3, of"),
    "needs": (
        "cannot be loaded: ModuleNotFoundError: No module named 'not_installed_anywhere'",
        ", line 3, of",
    ),
    "no_class": (
        "cannot be loaded: AttributeError: module 'mimdet_no_class' has no attribute 'Theirs'",
        "mimdet_no_class:Theirs of",
    ),
    "no_backbone": (
        "is <function Theirs at ",
        "mimdet_no_backbone:Theirs of",
    ),
    "outdated": (
        "implements contract version 0; mimdet needs 2.",
        "mimdet_outdated:Theirs of",
    ),
    "version_1": (
        "implements contract version 1; mimdet needs 2.",
        "mimdet_version_1:Theirs of",
    ),
}


def write_project(folder: Path, distribution: str, module: str, name: str, source: str) -> Path:
    folder.mkdir()
    text = PROJECT.format(distribution=distribution, module=module, name=name)
    (folder / "pyproject.toml").write_text(text)
    (folder / f"{module}.py").write_text(source)
    return folder


def pip(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words), "--quiet", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def install_packages(root: Path) -> None:
    """Make the folders `good`, `bad`, `rivals`, `late`, `slow`, and their `source`, in `root`."""
    source = root / "source"
    assert main(["backbones", "new", "my-net", "--out", str(source / "my_net")]) == 0
    good = (source / "my_net" / "src" / "mimdet_my_net.py").read_text()
    own = good.replace("class MyNet(Backbone)", "class Theirs(Backbone)")
    groups = {
        "bad": {name: (f"mimdet-{name}", name, TRACE + text) for name, text in BAD.items()},
        "rivals": {
            "one": ("Twin.One", "twin", TRACE + own),
            "two": ("twin_two", "twin", TRACE + own),
            "usurper": ("usurper", "vitdet", TRACE + own),
        },
        "late": {
            "late": ("mimdet-late", "late", own.replace("super().__init__(options)", LATE)),
            "late_regex": ("mimdet-late-regex", "late_regex", own.replace(TEMPLATE, REGEX)),
        },
        "slow": {"slow": ("mimdet-slow", "slow", TRACE + "import time\ntime.sleep(3600)\n")},
    }
    projects = {"good": [source / "my_net"]} | {
        group: [
            write_project(source / module, distribution, f"mimdet_{module}", name, text)
            for module, (distribution, name, text) in members.items()
        ]
        for group, members in groups.items()
    }
    everything = [project for group in projects.values() for project in group]
    wheels = root / "wheels"
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", wheels, *everything)
    found = sorted(wheels.glob("*.whl"))
    assert len(found) == len(everything) == 16
    of_group = {
        "good": "mimdet_my_net-*",
        "rivals": "[tu]*",
        "late": "mimdet_late*",
        "slow": "mimdet_slow-*",
    }
    chosen = {group: set(wheels.glob(pattern)) for group, pattern in of_group.items()}
    chosen["bad"] = set(found).difference(*chosen.values())
    for group, files in chosen.items():
        assert len(files) == len(projects[group])
        pip("install", "--no-deps", "--no-index", "--no-compile", "--target", root / group, *files)
