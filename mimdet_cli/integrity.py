"""Refuse to run if another package shadows mimdet's `backbones` or `heads`.

The names are short, so a folder in the working directory or another installed package can shadow
them. Mixing the two would fail later in confusing ways.
"""

from importlib.util import find_spec
from pathlib import Path

from mimdet_cli.errors import MimdetError

HOME = Path(__file__).resolve().parents[1]


def check(home: Path = HOME) -> None:
    """Raise unless `backbones` and `heads` are imported from `home`, beside `mimdet_cli`."""
    errors = [error for name in ("backbones", "heads") if (error := _shadowed(name, home))]
    if errors:
        raise MimdetError.joined(errors)


def _shadowed(name: str, home: Path) -> MimdetError | None:
    folder = _folder_of(name)
    if folder is None:
        return MimdetError(
            f"mimdet's package '{name}' is missing.",
            where=str(home / name),
            fix="reinstall mimdet: `pip install --force-reinstall --no-deps mimdet`.",
        )
    if folder == home / name:
        return None
    return MimdetError(
        f"another package shadows mimdet's '{name}'.",
        where=str(folder),
        fix=f"rename it, or run from another folder; mimdet's own is {home / name}.",
    )


def _folder_of(name: str) -> Path | None:
    """The folder or file that `import name` would load; None if there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or name).resolve()
