"""Write the files of a new backbone's package: project, module, test, recipe, README."""

import re
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from mimdet_cli import __version__, plugins
from mimdet_cli.errors import RecipeError, ResourceError
from mimdet_cli.files import write_text

NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
FILES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "recipe.yaml": "recipe.yaml.tmpl",
    "src/{{module}}.py": "backbone.py.tmpl",
    "tests/test_{{name}}.py": "test_backbone.py.tmpl",
}


@dataclass(frozen=True, slots=True)
class Package:
    """What was written, and the name of the backbone in recipes."""

    name: str
    folder: Path
    files: tuple[Path, ...]


def write_package(wanted: str, out: Path | None) -> Package:
    """Write the package of the backbone `wanted` into `out`, or into `mimdet-NAME`."""
    words = _words_for(wanted)
    _refuse_taken(words)
    folder = out or Path(words["distribution"])
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RecipeError(
            "the folder of the package exists and is not empty.",
            where=str(folder),
            fix="give another folder with --out.",
        )
    files = []
    for path, template in FILES.items():
        file = folder / _filled(path, words)
        try:
            write_text(file, _filled(_template(template), words))
        except OSError as error:
            raise ResourceError(
                f"the package cannot be written: {error.strerror}.",
                where=str(file),
                fix="give another folder with --out.",
            ) from error
        files.append(file)
    return Package(words["name"], folder, tuple(files))


def _words_for(wanted: str) -> dict[str, str]:
    """The value of each `{{word}}` in the templates."""
    if not NAME.fullmatch(wanted):
        raise RecipeError(
            f"'{wanted}' cannot be the name of a backbone.",
            where="NAME",
            fix="use lower-case letters and digits with single - or _ between them, as in my_net.",
        )
    name = wanted.replace("-", "_").removeprefix("mimdet_")
    return {
        "name": name,
        "distribution": f"mimdet-{name.replace('_', '-')}",
        "module": f"mimdet_{name}",
        "Class": "".join(part.capitalize() for part in name.split("_")),
        "version": __version__,
    }


def _refuse_taken(words: dict[str, str]) -> None:
    """Refuse a name that is taken, or that hides a module or an import."""
    name, module = words["name"], words["module"]
    owners = [
        registration.provider
        for registration in plugins.registrations()
        if registration.name == name
    ]
    imported = re.findall(rf"\b{words['Class']}\b", _template("backbone.py.tmpl"))
    if owners:
        what = f"the backbone name '{name}' is taken by {' and '.join(owners)}."
    elif find_spec(module) is not None:
        what = f"a module called '{module}' already exists."
    elif imported:
        what = f"the class would be called '{words['Class']}', which its module imports."
    else:
        return
    raise RecipeError(what, where="NAME", fix="choose another name.")


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text
