"""The wheel holds the program and the recipes, nothing else, and works from any folder."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("mimdet_cli", "backbones", "heads", "recipes")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, as a checkout has them."""
    source = tmp_path_factory.mktemp("checkout")
    for name in (*PARTS, "tests"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", dist, source)
    (built,) = dist.glob("mimdet-*.whl")
    return built


def run(*words: object, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_the_packages_and_the_recipes_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "mimdet_cli", "backbones", "heads"
    }  # fmt: skip
    recipes = {
        str(path.relative_to(ROOT / "recipes"))
        for path in (ROOT / "recipes").rglob("*")
        if path.is_file()
    }
    packed = {
        name.removeprefix("mimdet_cli/_recipes/")
        for name in names
        if name.startswith("mimdet_cli/_recipes/")
    }
    assert packed == recipes
    assert len(packed) >= 12
    kinds = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert kinds <= {".py", ".yaml", ".md", ".typed", ".json", ".tmpl"}
    assert not [name for name in names if re.search(r"(^|/)(tests?|examples|benchmarks)/", name)]


def test_every_module_of_the_checkout_is_in_the_wheel(wheel):
    modules = {
        str(path.relative_to(ROOT))
        for part in ("mimdet_cli", "backbones", "heads")
        for path in (ROOT / part).rglob("*.py")
    }
    assert len(modules) > 80
    assert modules <= set(zipfile.ZipFile(wheel).namelist())


def test_installed_wheel_finds_its_recipes_and_backbone_from_another_folder(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(
        sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--no-compile",
        "--target", site, wheel,
    )  # fmt: skip
    command = (sys.executable, "-m", "mimdet_cli")
    listed = run(*command, "recipe", "ls", cwd=elsewhere, PYTHONPATH=str(site))
    assert re.search(r"^base_50pct +box AP 51\.7, mask AP 46\.1", listed, flags=re.MULTILINE)
    where = "import mimdet_cli; print(mimdet_cli.__file__)"
    found = run(sys.executable, "-c", where, cwd=elsewhere, PYTHONPATH=str(site))
    assert Path(found.strip()).is_relative_to(site), "the wheel, not the checkout, was asked"
    checked = run(*command, "recipe", "check", "demo", cwd=elsewhere, PYTHONPATH=str(site))
    assert checked == "demo: valid\n"
