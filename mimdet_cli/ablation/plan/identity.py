"""What makes two runs the same: their recipes, their data and where their weights come from.

A recipe counts without what changes no result, by the marks of its fields: names, logs,
checkpoints, and where the data are. Data count by the content of their annotation files; the
embedded data set, by its version. A run that starts from another one counts that one's hash in
place of the path of its checkpoint. So a run has the same hash on every machine, and in later
versions: a field that a later version adds counts only where it is not its default.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mimdet_cli.data.coco.split import find_data
from mimdet_cli.data.scenes import CLASSES
from mimdet_cli.data.synthetic import VERSION
from mimdet_cli.errors import DataError
from mimdet_cli.files import sha256
from mimdet_cli.recipe.catalog import shipped_folder
from mimdet_cli.recipe.facts import identity_values
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import CompletedRecipe, Data

RUN_DIGITS = 12
EVALUATION_DIGITS = 8
EMBEDDED = f"demo {VERSION}"
"""Identity of the embedded data set, of an ablation that starts from `demo` without --data."""
EMBEDDED_SIZE = (1000, 120, len(CLASSES))
"""Its images to train on, images to evaluate, and classes."""


def run_hash(recipe: CompletedRecipe, data: str | None, parent: str | None) -> str:
    """The hash of a run; `data` is the identity of its data, `parent` the run it starts from."""
    settings = dict(flatten(identity_values(recipe)))
    checkpoint = parent or recipe.init.checkpoint
    return _digest([settings, recipe.seed, data, checkpoint], RUN_DIGITS)


def evaluation_key(settings: Mapping[str, Any], evals: int) -> str:
    """The hash of an evaluation, from what it changes in the trained recipe."""
    return _digest([dict(settings), evals], EVALUATION_DIGITS)


def data_identity(data: Data, out: Path) -> str | None:
    """The identity of a recipe's data; None if there are none yet."""
    if is_embedded(data, out):
        return EMBEDDED
    try:
        files = [find_data(data, split)[0] for split in ("train", "val")]
    except DataError:
        return None
    return _digest([file_digest(file) for file in files], RUN_DIGITS)


def file_digest(file: Path) -> str:
    """The SHA-256 of a file, computed again only when the file changes."""
    return _file_digest(file, file.stat().st_mtime_ns)


def has_embedded(base: Path) -> bool:
    """Whether a base is the shipped recipe that the embedded data set is made for."""
    return base.resolve() == (shipped_folder() / "demo.yaml").resolve()


def embedded_folder(out: Path) -> Path:
    """The embedded data set of the ablation in `out`."""
    return out / "data"


def is_embedded(data: Data, out: Path) -> bool:
    """Whether a recipe's data are the embedded data set of the ablation in `out`."""
    return data.root == str(embedded_folder(out))


@cache
def _file_digest(file: Path, changed: int) -> str:
    return sha256(file)


def _digest(value: object, digits: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
