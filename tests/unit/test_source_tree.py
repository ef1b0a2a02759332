"""The shape of the source tree: no import circle, no class name twice, no long file."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

from source_files import PACKAGES, ROOT, python_files

MOST_LINES = {"sources": 350, "tests": 400}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(file): file for file in python_files(*PACKAGES)}
TREES = {name: ast.parse(file.read_text("utf-8")) for name, file in SOURCES.items()}


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import below a node, in functions too, but not those for type checking alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports(other)
        else:
            yield from imports(child)


def imported_modules(tree: ast.AST) -> set[str]:
    """Modules of ours that a file names in its imports."""
    found: set[str] = set()
    for statement in imports(tree):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif statement.module:
            children = {f"{statement.module}.{alias.name}" for alias in statement.names}
            modules = children & SOURCES.keys()
            found |= modules
            if len(modules) < len(children):
                found.add(statement.module)
    return found & SOURCES.keys()


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle in the order of their imports; none if there is no circle."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_files_import_each_other_in_a_circle():
    graph = {name: imported_modules(tree) for name, tree in TREES.items()}
    assert sum(map(len, graph.values())) >= 400
    assert " -> ".join(circle(graph)) == ""


def test_a_circle_is_found_also_through_an_import_in_a_function():
    function = ast.parse("def f():\n    from heads.options import Head\n")
    assert imported_modules(function) == {"heads.options"}
    checked = ast.parse("if TYPE_CHECKING:\n    from heads.options import Head\n")
    assert imported_modules(checked) == set()
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) != []


def test_no_class_name_occurs_twice():
    places: dict[str, list[str]] = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert len(places) >= 200
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def too_long(files: list[Path], most: int) -> dict[str, int]:
    sizes = {file: len(file.read_text("utf-8").splitlines()) for file in files}
    return {str(file.relative_to(ROOT)): size for file, size in sizes.items() if size > most}


def test_no_source_has_more_than_350_lines():
    assert too_long(python_files(*PACKAGES), MOST_LINES["sources"]) == {}


def test_no_test_has_more_than_400_lines():
    assert too_long(python_files("tests"), MOST_LINES["tests"]) == {}
