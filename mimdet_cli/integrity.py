"""Refuse to run when `backbones` or `heads` would come from somebody else.

The two names are short, so a folder of the same name in the working directory, or another
package's, can stand in front of ours. Half of ours with half of theirs fails in odd ways later.
"""

from importlib.util import find_spec
from pathlib import Path

from mimdet_cli.errors import MimdetError

HOME = Path(__file__).resolve().parents[1]


def check(home: Path = HOME) -> None:
    """Raise unless `backbones` and `heads` lie beside `mimdet_cli`, in the folder `home`."""
    errors = [error for name in ("backbones", "heads") if (error := _stranger(name, home))]
    if errors:
        raise MimdetError.joined(errors)


def _stranger(name: str, home: Path) -> MimdetError | None:
    found = _folder_of(name)
    if found is None:
        return MimdetError(
            f"the package '{name}' of mimdet is missing.",
            where=str(home / name),
            fix="install mimdet again: `pip install --force-reinstall --no-deps mimdet`.",
        )
    if found == home / name:
        return None
    return MimdetError(
        f"'{name}' would be imported from another place than mimdet's own.",
        where=str(found),
        fix=f"rename that folder, or run from elsewhere; mimdet's own is {home / name}.",
    )


def _folder_of(name: str) -> Path | None:
    """Folder, or file, that `import name` would take; None if there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or name).resolve()
