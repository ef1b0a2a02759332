"""Find and read an ablation: a shipped name or a YAML file, with the line of each of its keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from mimdet_cli.ablation.definition import Ablation
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.catalog import shipped_folder, shown
from mimdet_cli.recipe.explain import explain
from mimdet_cli.recipe.reading import DEFAULT, Origin, read_yaml

FOLDER = "ablations"


@dataclass(frozen=True, slots=True)
class Source:
    """An ablation, its short name, the file it is in, and the origin of each of its keys."""

    name: str
    path: Path
    ablation: Ablation
    origins: Mapping[str, Origin]

    def origin(self, *keys: str) -> Origin:
        """Where the value below `keys` was written; what nothing set is the default."""
        return self.origins.get(".".join(keys), DEFAULT)

    def recipe(self, name: str) -> str | Path:
        """A recipe that the ablation names: a file beside it, else as everywhere."""
        beside = self.path.parent / name
        return beside if beside.is_file() else name


def shipped_names() -> list[str]:
    """Names of the shipped ablations, sorted."""
    return sorted(path.stem for path in (shipped_folder() / FOLDER).glob("*.yaml"))


def find(name_or_file: str) -> Path:
    """The file that is meant: one that exists, else a shipped ablation."""
    path = Path(name_or_file)
    if path.is_file():
        return path
    names = shipped_names()
    stem = path.name.removesuffix(".yaml")
    if stem in names:
        return shipped_folder() / FOLDER / f"{stem}.yaml"
    near = get_close_matches(stem, names, n=1)
    raise RecipeError(
        f"there is no ablation '{name_or_file}'.",
        fix=f"did you mean '{near[0]}'?"
        if near
        else "give a YAML file or a name from `mimdet ablate ls`.",
    )


def read(name_or_file: str) -> Source:
    """The ablation of a file or a shipped name; every error of its schema at once."""
    path = find(name_or_file)
    document = read_yaml(path, shown(path))
    try:
        ablation = Ablation.model_validate_json(json.dumps(document.values), strict=True)
    except ValidationError as error:
        found = explain(error, Ablation, document.origins, document="an ablation")
        raise RecipeError.joined(found) from error
    return Source(path.stem, path, ablation, document.origins)
