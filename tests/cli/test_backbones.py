"""`mimdet backbones`: list, write and check."""

import json
import subprocess
import sys

import pytest

import mimdet_cli
from mimdet_cli import plugins

OURS = """\
name         distribution  version  class                             state
mimdet       mimdet        {v}    backbones.mimdet:MIMDet           {state}
timm_fpn     mimdet        {v}    backbones.timm_fpn:TimmFPN        {state}
vit_adapter  mimdet        {v}    backbones.vit_adapter:ViTAdapter  {state}
vit_fpn      mimdet        {v}    backbones.vit_fpn:ViTFPN          {state}
vitdet       mimdet        {v}    backbones.vitdet:ViTDet           {state}
"""


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    """Work in an empty folder, with mimdet's own backbones only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.SWITCH, "none")


@pytest.mark.parametrize(("words", "state"), [((), "listed"), (("--load",), "loads")])
def test_ours_are_listed_with_distribution_version_and_class(mimdet, words, state):
    outcome = mimdet("backbones", "ls", *words)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == OURS.format(v=mimdet_cli.__version__, state=state)


def test_list_is_printed_as_json(mimdet):
    outcome = mimdet("backbones", "ls", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = json.loads(outcome.out)
    assert len(rows) == 5
    assert rows[-1] == {
        "name": "vitdet",
        "write": "vitdet",
        "distribution": "mimdet",
        "version": mimdet_cli.__version__,
        "value": "backbones.vitdet:ViTDet",
        "state": "listed",
        "reason": None,
        "where": None,
    }


def test_new_package_is_written_with_its_name_everywhere(mimdet, tmp_path):
    outcome = mimdet("backbones", "new", "my-net")
    assert (outcome.code, outcome.out) == (0, "mimdet-my-net\n")
    assert outcome.err == (
        "wrote mimdet-my-net/pyproject.toml\n"
        "wrote mimdet-my-net/README.md\n"
        "wrote mimdet-my-net/recipe.yaml\n"
        "wrote mimdet-my-net/src/mimdet_my_net.py\n"
        "wrote mimdet-my-net/tests/test_my_net.py\n"
        "next: pip install --no-build-isolation -e mimdet-my-net\n"
        "      mimdet backbones check my_net\n"
    )
    texts = {
        path.name: path.read_text()
        for path in (tmp_path / "mimdet-my-net").rglob("*")
        if path.is_file()
    }
    assert len(texts) == 5
    assert not [name for name, text in texts.items() if "{{" in text or "}}" in text]
    assert 'my_net = "mimdet_my_net:MyNet"' in texts["pyproject.toml"]
    assert "class MyNet(Backbone):" in texts["mimdet_my_net.py"]
    assert "promise.check(MyNet)" in texts["test_my_net.py"]
    assert "name: my_net\n" in texts["recipe.yaml"]


def test_written_sources_keep_to_the_house_style(mimdet, tmp_path):
    mimdet("backbones", "new", "my-net")
    for words in (
        ("check", "--select", "E,F,W,I,UP,B,C4,SIM,RET,PT,D100,D101,D103"),
        ("format", "--check"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length", "100",
             tmp_path / "mimdet-my-net" / "src"],
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_new_package_imports_only_the_promised_module(mimdet, tmp_path):
    mimdet("backbones", "new", "my-net", "--out", "here")
    source = (tmp_path / "here" / "src" / "mimdet_my_net.py").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("from ", "import "))]
    ours = [line for line in imports if "mimdet" in line or "backbones" in line]
    assert ours == ["from mimdet_cli.plugin_api import ("]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("My_Net", "'My_Net' cannot be the name of a backbone."),
        ("2net", "'2net' cannot be the name of a backbone."),
        ("my__net", "'my__net' cannot be the name of a backbone."),
        ("my.net", "'my.net' cannot be the name of a backbone."),
        ("../net", "'../net' cannot be the name of a backbone."),
        ("", "'' cannot be the name of a backbone."),
    ],
)
def test_name_that_cannot_be_one_is_refused(mimdet, tmp_path, name, what):
    outcome = mimdet("backbones", "new", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: {what}\n"
        "  at:  NAME\n"
        "  fix: use lower-case letters and digits with single - or _ between them, as in "
        "my_net.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("vitdet", f"the backbone name 'vitdet' is taken by mimdet {mimdet_cli.__version__}."),
        ("vit-fpn", f"the backbone name 'vit_fpn' is taken by mimdet {mimdet_cli.__version__}."),
        ("cli", "a module called 'mimdet_cli' already exists."),
        ("backbone", "the class would be called 'Backbone', which its module imports."),
        ("tensor", "the class would be called 'Tensor', which its module imports."),
    ],
)
def test_name_that_is_taken_is_refused(mimdet, tmp_path, name, what):
    outcome = mimdet("backbones", "new", name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {what}\n  at:  NAME\n  fix: choose another name.\n"
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_empty_is_left_as_it_is(mimdet, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for folder in ("full", "full/mine"):
        outcome = mimdet("backbones", "new", "my-net", "--out", folder)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            "error: the folder of the package exists and is not empty.\n"
            f"  at:  {folder}\n"
            "  fix: give another folder with --out.\n"
        )
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_package_that_cannot_be_written_is_reported(mimdet, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = mimdet("backbones", "new", "my-net", "--out", "file/below")
    assert (outcome.code, outcome.out) == (6, "")
    assert outcome.err == (
        "error: the package cannot be written: Not a directory.\n"
        "  at:  file/below/pyproject.toml\n"
        "  fix: give another folder with --out.\n"
    )


def test_check_of_an_unknown_backbone_is_a_plugin_error(mimdet):
    outcome = mimdet("backbones", "check", "vitdt")
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == (
        "error: there is no backbone called 'vitdt'.\n"
        "  at:  backbone.name\n"
        "  fix: did you mean 'vitdet'?\n"
    )


def test_all_and_backbone_exclude_each_other_in_the_schema(mimdet):
    outcome = mimdet("recipe", "schema", "--all", "--backbone", "vitdet")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: --all and --backbone cannot be combined.\n  fix: give one of them.\n"
    )
