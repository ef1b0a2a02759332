"""The shipped recipes: their location, in the wheel or a checkout, and their headers."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path

from mimdet_cli.errors import RecipeError

FIELDS = ("command", "expected", "cost", "source", "notes")


@dataclass(frozen=True, slots=True)
class Header:
    """The comment at the top of a recipe: a summary and labelled lines."""

    summary: str = ""
    command: str = ""
    expected: str = ""
    cost: str = ""
    source: str = ""
    notes: str = ""

    @property
    def box_ap(self) -> float | None:
        """Box AP if stated as one number, in points of 100; None for a bound or another metric."""
        return _number(r"box AP (\d+\.\d+)", self.expected)

    @property
    def mask_ap(self) -> float | None:
        """Mask AP, like `box_ap`."""
        return _number(r"mask AP (\d+\.\d+)", self.expected)

    def to_json(self) -> dict[str, str | float | None]:
        """All fields, with the two numbers."""
        return {**asdict(self), "box_ap": self.box_ap, "mask_ap": self.mask_ap}


@cache
def shipped_folder() -> Path:
    """The folder of the shipped recipes."""
    package = Path(str(resources.files("mimdet_cli")))
    inside = package / "_recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_names() -> list[str]:
    """Names of the shipped recipes in natural order: 12 before 100."""
    names = (path.stem for path in shipped_folder().glob("*.yaml"))
    return sorted(names, key=_natural)


def _natural(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def shipped(name: str) -> Path | None:
    """The path of a shipped recipe, from a name like `base_50pct` or `recipes/base_50pct.yaml`."""
    stem = re.sub(r"\.yaml$", "", re.sub(r"^(\./)?recipes/", "", name))
    return shipped_folder() / f"{stem}.yaml" if stem in shipped_names() else None


def find_recipe(name_or_path: str | Path) -> Path:
    """An existing file, else the shipped recipe of that name."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    named = shipped(path.as_posix())
    if named is not None:
        return named
    raise RecipeError(
        f"there is no recipe '{name_or_path}'.",
        fix=_suggestion(path),
    )


def shown(path: Path) -> str:
    """A recipe file's path for messages: `recipes/...` if shipped, else relative if possible."""
    full = path.resolve()
    folder = shipped_folder().resolve()
    if full.is_relative_to(folder):
        return f"recipes/{full.relative_to(folder).as_posix()}"
    here = Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(path)


def read_header(text: str) -> Header:
    """Parse the leading comment of a recipe file; continuation lines are joined."""
    parts: dict[str, list[str]] = {"summary": []}
    label = "summary"
    for line in (raw.removeprefix("#").strip() for raw in _comment_lines(text)):
        match = re.match(rf"({'|'.join(FIELDS)})\s\s+(.*)", line, flags=re.IGNORECASE)
        if match:
            label = match[1].lower()
            parts[label] = [match[2]]
        elif line:
            parts[label].append(line)
    return Header(**{name: " ".join(lines) for name, lines in parts.items()})


def header_text(text: str) -> str:
    """The leading comment of a recipe file, verbatim."""
    return "".join(f"{line}\n" for line in _comment_lines(text))


def _comment_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        yield line


def _number(pattern: str, text: str) -> float | None:
    match = re.search(pattern, text)
    return float(match[1]) if match else None


def _suggestion(path: Path) -> str:
    if path.is_dir():
        return "this is a folder; give a YAML file."
    with_suffix = path.with_name(f"{path.name}.yaml")
    if with_suffix.is_file():
        return f"did you mean the file '{with_suffix}'?"
    near = get_close_matches(path.stem, shipped_names(), n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    return "give a YAML file or a name from `mimdet recipe ls`."
