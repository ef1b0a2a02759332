"""The val split that a run was scored on, and AP resampled over its images.

Matching and resampling take half a second for a hundred images and minutes for COCO, so the result
is kept beside the predictions in `resampled.npz`. It is made again when the predictions, the
annotations or the resampling change.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from mimdet_cli.ablation.folder import LAST, AblationRecord, run_folder
from mimdet_cli.ablation.judge.statistics import Resampled, Resampling
from mimdet_cli.ablation.plan.identity import EMBEDDED, embedded_folder, file_digest
from mimdet_cli.data.coco.ground_truth import GroundTruth
from mimdet_cli.data.coco.json_file import read_json
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.split import find_data
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.bootstrap import match_file
from mimdet_cli.files import replacing, sha256
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe

RECIPE: Final = "recipe.yaml"
PREDICTIONS: Final = "predictions.json"
KEPT: Final = "resampled.npz"
VERSION: Final = 1
ROUNDING: Final = 1e-6
"""By how much AP that is computed in another order may differ."""


@dataclass(frozen=True, slots=True)
class ScoredSplit:
    """A val split: its annotation file, the name of its data set, and its size."""

    annotations: Path
    name: str
    images: int
    classes: int


class TruthReader:
    """Reads annotation files, and keeps the last one: most runs are scored on the same split."""

    def __init__(self) -> None:
        self._last: tuple[Path, GroundTruth] | None = None

    def read(self, annotations: Path) -> GroundTruth:
        """The boxes and masks of a file."""
        if self._last is None or self._last[0] != annotations:
            truth = GroundTruth.of(read_ground_truth(annotations), masks=True)
            self._last = annotations, truth
        return self._last[1]


def resample(
    folder: Path,
    annotations: Path,
    reader: TruthReader,
    recorded: Mapping[str, float | None],
    resampling: Resampling,
) -> dict[str, Resampled]:
    """Resampled metrics, those that are `recorded`, of the evaluation in `folder`."""
    predictions = folder / PREDICTIONS
    if not predictions.is_file():
        read_json(predictions)  # raises the error that says so
    digests = [sha256(predictions), file_digest(annotations)]
    stamp = json.dumps([VERSION, resampling.resamples, resampling.seed, *digests])
    known = {kind: value for kind, value in recorded.items() if value is not None}
    found = _kept(folder / KEPT, stamp)
    if found is None or not known.keys() <= found.keys():
        matches = match_file(predictions, reader.read(annotations).content())
        made = {kind: Resampled.of(matched, resampling) for kind, matched in matches.items()}
        found = {kind: model for kind, model in made.items() if model is not None}
        _keep(folder / KEPT, stamp, found)
    for kind, value in known.items():
        again = found[kind].value if kind in found else None
        if again is None or abs(again - value) > ROUNDING:
            raise _other_annotations(predictions, annotations, kind, value, again)
    return {kind: found[kind] for kind in known}


@cache
def recipe_of(out: Path, name: str) -> ResolvedRecipe:
    """The completed recipe of a trained run."""
    return load_recipe(run_folder(out, name) / LAST / RECIPE)


def split_of(out: Path, record: AblationRecord, name: str, data: Path | None) -> ScoredSplit:
    """The val split of a run, in the folder `data` if given."""
    section = recipe_of(out, name).recipe.data
    if data is None and record.data == EMBEDDED:
        data = embedded_folder(out)
    if data is not None:
        section = section.model_copy(update={"root": str(data)})
    found, _ = find_data(section, "val")
    root = Path(section.root).expanduser() if section.root else found.parent
    return _split(found, root.name)


@cache
def _split(annotations: Path, name: str) -> ScoredSplit:
    content = read_ground_truth(annotations)
    return ScoredSplit(annotations, name, len(content["images"]), len(content["categories"]))


def _kept(path: Path, stamp: str) -> dict[str, Resampled] | None:
    """What was kept, if its stamp is the same."""
    try:
        with np.load(path) as file:
            if str(file["stamp"]) != stamp:
                return None
            ids = tuple(file["image_ids"].tolist())
            return {
                kind: Resampled(float(file[f"{kind}.value"]), file[f"{kind}.draws"], ids)
                for kind in file["kinds"].tolist()
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent, cut short, or of another version: it is made again


def _keep(path: Path, stamp: str, found: Mapping[str, Resampled]) -> None:
    ids = next((model.image_ids for model in found.values()), ())
    arrays: dict[str, Any] = {"stamp": stamp, "kinds": list(found), "image_ids": np.array(ids)}
    for kind, model in found.items():
        arrays |= {f"{kind}.value": model.value, f"{kind}.draws": model.replicates}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _other_annotations(
    predictions: Path, annotations: Path, kind: str, recorded: float, again: float | None
) -> DataError:
    value = "none" if again is None else f"{again:.3f}"
    return DataError(
        f"{kind} was {recorded:.3f} when the run was scored and is {value} on {annotations.name}: "
        "the predictions or the annotations have changed.",
        where=f"{predictions}, {annotations}",
        fix="give the data that the runs were scored on with --data, or delete the folder of the "
        "evaluation and run the ablation again.",
    )
