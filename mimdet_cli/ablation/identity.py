"""What makes two runs the same: their recipes, their data and where their weights come from.

Left out of a recipe are its name, how it logs, keeps checkpoints and reads images, how often it is
scored on the way, and where its data are: a copy of the data in another place is the same. Data are
told apart by the content of their annotation files. A run that goes on from another one counts that
one's identity in place of the path of its checkpoint. So a run is named alike on every machine.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mimdet_cli.build import find_data
from mimdet_cli.errors import DataError
from mimdet_cli.files import sha256
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import Data, Recipe

NO_MATTER = frozenset({
    "name", "seed", "data.workers", "data.root", "data.train_annotations", "data.train_images",
    "data.val_annotations", "data.val_images", "train.evals", "train.log_every", "train.keep",
    "train.saves", "init.checkpoint",
})  # fmt: skip
RUN_DIGITS = 12
EVALUATION_DIGITS = 8


def run_hash(recipe: Recipe, data: str | None, parent: str | None) -> str:
    """The name of a run; `recipe` is completed, `data` as `data_identity` gives it.

    `parent` is the name of the run whose weights it takes over.
    """
    settings = dict(flatten(recipe.model_dump(mode="json")))
    checkpoint = parent or recipe.init.checkpoint
    kept = {key: value for key, value in settings.items() if key not in NO_MATTER}
    return _digest([kept, recipe.seed, data, checkpoint], RUN_DIGITS)


def evaluation_key(settings: Mapping[str, Any], evals: int) -> str:
    """The name of an evaluation, by what it changes in the trained recipe."""
    return _digest([dict(settings), evals], EVALUATION_DIGITS)


def data_identity(data: Data) -> str | None:
    """The content of the annotation files; None where there are none."""
    try:
        files = [find_data(data, split)[0] for split in ("train", "val")]
    except DataError:
        return None
    return _digest([_content(file, file.stat().st_mtime_ns) for file in files], RUN_DIGITS)


@cache
def _content(file: Path, changed: int) -> str:
    """Digest of a file that was last changed at `changed`."""
    return sha256(file)


def _digest(value: object, digits: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
