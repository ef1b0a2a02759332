"""What the linters cannot express: names, documentation, entry points, the file map."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from source_files import PACKAGES, ROOT, python_files
from typer.main import get_command

from mimdet_cli import plugins
from mimdet_cli.app import app
from mimdet_cli.recipe.schema import Recipe


def test_no_module_is_a_drawer():
    drawers = {"utils", "util", "misc", "common", "helpers"}
    assert [f for f in python_files(*PACKAGES, "tests") if drawers & {*f.parts, f.stem}] == []


def test_text_is_read_as_utf_8_and_written_whole():
    """Plain writing is for other processes' files and for what `/proc` takes."""
    texts = {str(f.relative_to(ROOT)): f.read_text() for f in python_files(*PACKAGES)}
    assert [name for name, text in texts.items() if ".read_text()" in text] == []
    assert {name for name, text in texts.items() if ".write_text(" in text} == {
        "mimdet_cli/backbone_options.py",
        "mimdet_cli/files.py",
        "mimdet_cli/isolation.py",
        "mimdet_cli/measure/memory.py",
    }


def undocumented(schema: dict[str, Any], name: str) -> Iterator[str]:
    models = {name: schema, **schema.get("$defs", {})}
    for model, node in models.items():
        for key, field in node.get("properties", {}).items():
            if not field.get("description"):
                yield f"{model}.{key}"


def test_every_recipe_field_has_a_description():
    schema = Recipe.model_json_schema()
    assert len(schema["$defs"]) >= 7
    assert list(undocumented(schema, "Recipe")) == []


def test_every_option_of_our_backbones_has_a_description():
    names = declared_entry_points()
    assert len(names) >= 1
    for name in names:
        assert list(undocumented(plugins.load(name).Options.model_json_schema(), name)) == []


def parameters(command: Any, path: str = "mimdet") -> Iterator[tuple[str, Any]]:
    for parameter in command.params:
        yield f"{path} {parameter.name}", parameter
    for name, child in getattr(command, "commands", {}).items():
        yield from parameters(child, f"{path} {name}")


def test_every_option_and_argument_of_the_command_line_has_help():
    found = list(parameters(get_command(app)))
    assert len(found) >= 35
    assert [name for name, parameter in found if not getattr(parameter, "help", None)] == []


def declared_entry_points() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(project["entry-points"][plugins.GROUP])


def test_every_backbone_of_ours_declares_its_options():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [*project["entry-points"][plugins.OPTIONS_GROUP]] == [*declared_entry_points()]


@pytest.mark.parametrize(("name", "value"), declared_entry_points().items())
def test_declared_entry_point_is_installed_and_loads(name, value):
    assert plugins.find(name).value == value, "install again: pip install -e ."
    assert plugins.load(name).__name__ == value.rpartition(":")[2]


def test_what_starts_without_torch_may_import_of_ours_the_options_alone():
    """Ruff's list of banned imports names every module of backbones and heads but the options."""
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = ruff["flake8-tidy-imports"]["banned-module-level-imports"]
    modules = {
        f"{package}.{path.stem}"
        for package in ("backbones", "heads")
        for path in (ROOT / package).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert len(modules) >= 20
    options = {"backbones.options", "heads.options"}
    assert {name for name in banned if name.startswith(("backbones", "heads"))} == modules - options


def mapped_paths() -> list[str]:
    """Paths of the README's file map: the first word of each line of its code block."""
    section = re.search(
        r"^## File map\n.*?^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S
    )
    assert section, "README.md has no section '## File map' with a code block"
    return [line.split()[0].rstrip("/") for line in section[1].splitlines() if line.strip()]


def test_every_path_of_the_file_map_exists():
    paths = mapped_paths()
    assert len(paths) >= 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_path_that_contributors_are_sent_to_exists():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([a-z_]+/[\w/.-]*)`", text.partition("## Where a change goes")[2])
    assert len(paths) >= 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_top_level_source_is_in_the_file_map():
    sources = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).iterdir())
        if (path.suffix == ".py" and not path.stem.startswith("__"))
        or (path / "__init__.py").exists()
    ]
    assert len(sources) >= 15
    assert [source for source in sources if source not in mapped_paths()] == []
