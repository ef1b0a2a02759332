"""AP of the evaluations of an ablation, as they are and resampled, from their predictions.

Matching and resampling take half a second for a hundred images and minutes for COCO, so that the
outcome is kept beside the predictions: `resampled.npz`, which is made anew where the predictions,
the annotations or the plan of resampling are others.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mimdet_cli.ablation.statistics import Plan, Resampled
from mimdet_cli.data.coco.ground_truth import GroundTruth
from mimdet_cli.data.coco.json_file import read_json
from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.bootstrap import match_file
from mimdet_cli.files import replacing, sha256

PREDICTIONS: Final = "predictions.json"
KEPT: Final = "resampled.npz"
VERSION: Final = 1
ROUNDING: Final = 1e-6
"""By how much AP that is computed in another order may differ."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Resamples evaluations under one plan; an annotation file is read once."""

    plan: Plan
    digests: dict[Path, str] = field(default_factory=dict)
    truths: dict[Path, GroundTruth] = field(default_factory=dict)

    def of(
        self, folder: Path, annotations: Path, recorded: Mapping[str, float | None]
    ) -> dict[str, Resampled]:
        """The resampled metrics, those that are `recorded`, of an evaluation's folder."""
        predictions = folder / PREDICTIONS
        if not predictions.is_file():
            read_json(predictions)  # says that it is not there
        stamp = self._stamp(predictions, annotations)
        known = {kind: value for kind, value in recorded.items() if value is not None}
        found = _kept(folder / KEPT, stamp)
        if found is None or not known.keys() <= found.keys():
            matches = match_file(predictions, self._truth(annotations))
            drawn = {kind: Resampled.of(one, self.plan) for kind, one in matches.items()}
            found = {kind: one for kind, one in drawn.items() if one is not None}
            _keep(folder / KEPT, stamp, found)
        for kind, value in known.items():
            again = found[kind].value if kind in found else None
            if again is None or abs(again - value) > ROUNDING:
                raise _other_annotations(predictions, annotations, kind, value, again)
        return {kind: found[kind] for kind in known}

    def _truth(self, annotations: Path) -> dict[str, Any]:
        """The ground truth of an annotation file."""
        if annotations not in self.truths:
            self.truths[annotations] = GroundTruth.of(read_ground_truth(annotations), masks=True)
        return self.truths[annotations].content()

    def _stamp(self, predictions: Path, annotations: Path) -> str:
        """What the resampled figures follow from."""
        if annotations not in self.digests:
            self.digests[annotations] = sha256(annotations)
        plan = [self.plan.resamples, self.plan.seed]
        return json.dumps([VERSION, *plan, sha256(predictions), self.digests[annotations]])


def _kept(path: Path, stamp: str) -> dict[str, Resampled] | None:
    """What was kept, if it follows from the same."""
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
        return None  # not there, cut short, or of another version: it is made anew


def _keep(path: Path, stamp: str, found: Mapping[str, Resampled]) -> None:
    ids = next((one.image_ids for one in found.values()), ())
    arrays: dict[str, Any] = {"stamp": stamp, "kinds": list(found), "image_ids": np.array(ids)}
    for kind, one in found.items():
        arrays |= {f"{kind}.value": one.value, f"{kind}.draws": one.draws}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _other_annotations(
    predictions: Path, annotations: Path, kind: str, recorded: float, again: float | None
) -> DataError:
    said = "none" if again is None else f"{again:.3f}"
    return DataError(
        f"{kind} was {recorded:.3f} when it was scored and is {said} on {annotations.name}: the "
        "predictions or the annotations are others now.",
        where=f"{predictions}, {annotations}",
        fix="give the data that the runs were scored on with --data, or delete the folder of the "
        "evaluation and run the ablation again.",
    )
