"""Names of timm's models, read in its source: timm itself loads torch.

A model is a function below `@register_model`; names that timm calls deprecated are none.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

REGISTERED = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)


@cache
def models_in(module: str) -> tuple[str, ...]:
    """The models that `timm.models.MODULE` defines, in timm's order."""
    text = (_folder() / f"{module}.py").read_text(encoding="utf-8")
    return tuple(sorted(REGISTERED.findall(text), key=_natural))


@cache
def all_models() -> Mapping[str, str]:
    """The module that defines each model of timm, in timm's order of names."""
    modules = (path.stem for path in sorted(_folder().glob("*.py")))
    found = {model: module for module in modules for model in models_in(module)}
    return {model: found[model] for model in sorted(found, key=_natural)}


def _folder() -> Path:
    spec = find_spec("timm")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "models"


def _natural(name: str) -> list[int | str]:
    """Numbers inside names in the order of their values."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]
