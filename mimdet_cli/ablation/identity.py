"""What makes two runs the same: their recipes, their data and where their weights come from.

Left out of a recipe is what changes nothing, by the marks of its fields: names, logs, checkpoints,
and where the data are. Data are told apart by the content of their annotation files. A run that
goes on from another one counts that one's identity in place of the path of its checkpoint. So a run
is named alike on every machine, and by later versions: a field that was added since counts only
where it is not its default.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mimdet_cli.data.coco import find_data
from mimdet_cli.errors import DataError
from mimdet_cli.files import sha256
from mimdet_cli.recipe.facts import identity_values
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import CompletedRecipe, Data

RUN_DIGITS = 12
EVALUATION_DIGITS = 8


def run_hash(recipe: CompletedRecipe, data: str | None, parent: str | None) -> str:
    """The name of a run; `data` is as `data_identity` gives it.

    `parent` is the name of the run whose weights it takes over.
    """
    settings = dict(flatten(identity_values(recipe)))
    checkpoint = parent or recipe.init.checkpoint
    return _digest([settings, recipe.seed, data, checkpoint], RUN_DIGITS)


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
