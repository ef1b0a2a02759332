"""The tutorial of `backbones/README.md`, followed to the letter in an empty folder.

Its `bash` blocks run in order, its files are written, its `diff` blocks are applied to the module.
Two things differ from what a reader does: the environment sees this one's packages and not the
network, and data and training are made short, by the words in `SHORTER`.
"""

import re
import sys
from pathlib import Path

import pytest
from reader import Reader, blocks

TUTORIAL = Path(__file__).resolve().parents[2] / "backbones" / "README.md"
MODULE = Path("mimdet-my-net/src/mimdet_my_net.py")
SHORTER = {
    ("data", "demo"): ["--train", "8", "--val", "4"],
    ("train",): ["--set", "train.steps=2", "--set", "train.evals=0", "--set", "train.batch=2"],
    ("-q",): ["-k", "builds or state or whole_image"],
}
"""First words of a command, and what is added to them; `-q` are those of `pytest`."""
BAD = {
    "No module named 'flash'": "import flash\n",
    "SyntaxError": "class MyNet\n",
    "SystemExit": "import sys\nsys.exit(0)\n",
    "has no attribute": "",
    "not a subclass": "MyNet = 1\n",
    "implements contract version 1": "from mimdet_cli.plugin_api import Backbone\n"
    "class MyNet(Backbone):\n    def from_options(cls, options):\n        return cls()\n",
    "called 'my_nett'": "",
    "several distributions provide": "",
    "switched off": "",
}
"""A part of each row of the table of errors, and a module that is wrong in this way."""


def apply(diff: str, file: Path) -> None:
    """Replace the lines with a minus by those with a plus; the others locate them."""
    lines = diff.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    text = file.read_text()
    assert text.count(before) == 1, f"no place for\n{diff}"
    file.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Whoever follows the tutorial."""
    return Reader(tmp_path_factory.mktemp("tutorial"), SHORTER)


@pytest.mark.timeout(1800)
def test_every_step_of_the_tutorial_works_as_it_is_written(reader):
    output = ""
    followed = [
        block
        for block in blocks(TUTORIAL.read_text())
        if block.kind in ("bash", "diff") or block.file
    ]
    assert len(followed) >= 14
    for block in followed:
        if block.kind == "bash":
            output += reader.run(block.text)
        elif block.kind == "diff":
            apply(block.text, reader.folder / MODULE)
        else:
            (reader.folder / block.file).write_text(block.text)
    for phrase in (
        "my_net       mimdet-my-net",
        "18 of 18 promises kept",
        '"description": "Side of the convolution in every block."',
        "100.0 % of the",
        "the student is fine-tuned",
        "kernel=7",
        "passed",
    ):
        assert phrase in output
    assert list((reader.folder / "dist").glob("mimdet_my_net-0.1.0-*.whl"))


def test_wrong_option_is_refused_with_the_words_of_the_tutorial(reader):
    (console,) = (block.text for block in blocks(TUTORIAL.read_text()) if block.kind == "console")
    command, _, expected = console.partition("\n")
    (reader.folder / "wrong.yaml").write_text("backbone:\n  name: my_net\n  kernel: 4\n")
    output = reader.run(f"{command.removeprefix('$ ')} || test $? = 2")
    assert output == expected


def claim(folder: Path, distribution: str, version: str, name: str) -> None:
    """What pip leaves of a package with a backbone: its entry point."""
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[mimdet.backbones]\n{name} = mimdet_my_net:MyNet\n")


@pytest.mark.parametrize("part", BAD)
def test_broken_package_is_reported_in_the_words_of_the_table(mimdet, tmp_path, monkeypatch, part):
    table = TUTORIAL.read_text().partition("| the error |")[2].partition("\n\n")[0]
    (row,) = (row for row in table.splitlines() if part in row)
    promised = re.findall(r"`([^`]+)`", row)[-1]
    claim(tmp_path / "site", "mimdet-my-net", "0.1.0", "my_net")
    (tmp_path / "site" / "mimdet_my_net.py").write_text(BAD[part])
    if part == "several distributions provide":
        claim(tmp_path / "site", "another", "1.0", "my_net")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "mimdet_my_net", raising=False)
    monkeypatch.setenv("MIMDET_PLUGINS", "none" if part == "switched off" else "all")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"backbone: {{name: {'my_nett' if 'nett' in part else 'my_net'}}}\n")
    outcome = mimdet("recipe", "check", recipe)
    assert (outcome.code, outcome.out) == (5, "")
    assert promised in outcome.err.splitlines()[0]
    monkeypatch.delitem(sys.modules, "mimdet_my_net", raising=False)


def test_every_row_of_the_table_of_errors_is_tried():
    table = TUTORIAL.read_text().partition("| the error |")[2].partition("\n\n")[0]
    rows = table.strip().splitlines()[1:]
    assert len(rows) == len(BAD)
