"""The example packages: built as wheels, installed apart, and used by the installed command.

The learning test trains each demo recipe on 1,000 generated images, some minutes on two CPU cores:

    pytest -m slow tests/e2e/test_examples.py
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RECIPES = {
    "resnet_fpn": "mimdet-resnet/recipes/resnet18_fpn_demo.yaml",
    "plain_vit": "mimdet-plain-vit/recipes/plain_vit_demo.yaml",
}
LEAST_AP = {"resnet_fpn": 35.0, "plain_vit": 40.0}
PROMISES = 18
SHORT = ("train.steps=8", "train.log_every=1", "optimizer.warmup_images=8", "train.batch=4")
ALLOWED = {"mimdet_cli.plugin_api", "numpy", "pydantic", "pytest", "timm", "torch", "torchvision"}


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheels of both packages, and nothing else."""
    root = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, root / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    sources = sorted(file.parent for file in (root / "source").glob("*/pyproject.toml"))
    offline = ("--no-deps", "--no-index")
    for words in (
        ("wheel", "--no-build-isolation", *offline, "-w", "wheels", *sources),
        ("install", "--no-compile", *offline, "--target", "site", "--find-links", "wheels",
         "mimdet-resnet", "mimdet-plain-vit"),
    ):  # fmt: skip
        done = run(*pip, *words, cwd=root)
        assert done.returncode == 0, done.stderr
    return root / "site"


@pytest.fixture
def installed(site, mimdet, monkeypatch):
    """Run the command in this process, with both packages on the import path; what it printed."""
    monkeypatch.syspath_prepend(site)

    def call(*words: object) -> str:
        outcome = mimdet(*words)
        assert outcome.code == 0, outcome.err
        return outcome.out

    return call


@pytest.fixture
def command(site, tmp_path):
    """The same in a separate process, started in another folder."""

    def call(*words: object) -> str:
        done = run(sys.executable, "-m", "mimdet_cli", *words, cwd=tmp_path, PYTHONPATH=str(site))
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def imported_by(file: Path) -> set[str]:
    """Modules that a file imports, but its own package and the standard library."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {
        name if name.startswith("mimdet_cli") else name.partition(".")[0]
        for name in names
        if name.partition(".")[0] not in sys.stdlib_module_names
        and name.partition(".")[0] not in ("mimdet_resnet", "mimdet_plain_vit")
    }


def test_example_packages_import_nothing_of_mimdet_but_the_plugin_api():
    files = sorted(EXAMPLES.glob("mimdet-*/**/*.py"))
    assert len(files) >= 8
    used = {file: imported_by(file) for file in files}
    assert {file: names - ALLOWED for file, names in used.items() if names - ALLOWED} == {}


def test_examples_are_listed_with_their_distributions_and_load_apart(command):
    rows = {
        row["name"]: row
        for row in json.loads(command("backbones", "ls", "--load", "--timeout", 300, "--json"))
    }
    for name, distribution in (("resnet_fpn", "mimdet-resnet"), ("plain_vit", "mimdet-plain-vit")):
        row = rows[name]
        found = (row["distribution"], row["version"], row["state"])
        assert found == (distribution, "1.0.0", "loads")


@pytest.mark.parametrize("name", RECIPES)
def test_installed_example_keeps_every_promise(installed, name):
    report = json.loads(installed("backbones", "check", name, "--json"))
    assert [one["status"] for one in report["promises"]] == ["kept"] * PROMISES
    assert report["tiny"]


def test_options_of_the_examples_are_in_the_schema_with_their_meaning(installed):
    document = json.loads(installed("recipe", "schema", "--backbone", "plain_vit"))
    options = document["$defs"]["BackboneSection"]["properties"]
    assert list(options)[:4] == ["name", "model", "width", "depth"]
    assert options["window"]["description"].startswith("Side in tokens of the windows")
    document = json.loads(installed("recipe", "schema", "--backbone", "resnet_fpn"))
    assert document["$defs"]["BackboneSection"]["properties"]["depth"]["enum"] == [18, 34, 50, 101]


def test_every_recipe_of_the_examples_is_valid(installed):
    recipes = sorted(EXAMPLES.glob("*/recipes/*.yaml"))
    assert len(recipes) >= 5
    for recipe in recipes:
        assert installed("recipe", "check", recipe) == f"{recipe}: valid\n"


@pytest.mark.parametrize("name", RECIPES)
def test_short_training_on_generated_shapes_lowers_the_loss_and_is_scored(
    installed, command, shapes, tmp_path, name
):
    out = tmp_path / "run"
    sets = [word for one in SHORT for word in ("--set", one)]
    command("train", EXAMPLES / RECIPES[name], "--data", shapes, "--out", out, *sets)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 8
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    assert "box AP" in installed("eval", out)
    assert json.loads((out / "plugin.json").read_text())["name"] == name


def test_examples_are_rows_of_an_ablation_they_are_added_to(installed):
    words = ("ablate", "cascade", "--base", "demo", "--plan")
    added = [word for name in RECIPES for word in ("--add", name)]
    plan = installed(*words, *added)
    for name in RECIPES:
        assert re.search(rf"^{name} +1 to do", plan, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", RECIPES)
def test_demo_recipe_of_an_example_learns_the_generated_shapes(command, tmp_path, name, capfd):
    data, out = tmp_path / "shapes", tmp_path / "run"
    command("data", "demo", data)
    report = command("train", EXAMPLES / RECIPES[name], "--data", data, "--out", out, "--json")
    found = json.loads(report)["ap"]["box_ap"]
    with capfd.disabled():
        sys.stdout.write(f"\n{name}: box AP {found:.1f}\n")
    assert found > LEAST_AP[name]
