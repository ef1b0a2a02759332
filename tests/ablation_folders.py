"""Folders as `mimdet ablate` leaves them, made without any training.

Predictions are the objects themselves, moved by a few pixels to get the AP that is wanted.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimdet_cli.data.coco.reader import read_ground_truth
from mimdet_cli.data.coco.rle import to_rle
from mimdet_cli.evaluation.coco_ap import score

SIDE = 64
IMAGES = 8
CELL = {"steps": 10, "torch": "2.10.0", "weights": [], "reason": None, "status": "done"}
RECIPE = """\
backbone: {{name: mimdet, width: 48, depth: 2}}
train: {{steps: 10, batch: 2}}
data: {{root: {data}, eval_short_side: 64}}
"""


@dataclass
class Folder:
    """An ablation's folder in the making: its cells in order, `{label: {seed: run}}`."""

    out: Path
    ablation: dict[str, Any]
    name: str = "made"
    cells: dict[str, dict[int, str]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def annotations(self) -> Path:
        """The annotation file that everything is scored on."""
        return self.out / "photos" / "annotations" / "instances_val.json"

    def plan(self, labels: Sequence[str], seeds: Sequence[int] = (0,)) -> None:
        """Record rows `TRAINING` or `TRAINING, EVALUATION`, and generate the data."""
        for label in labels:
            training, _, evaluation = label.partition(", ")
            self.keys[label] = evaluation.replace("=", "") or "plain"
            self.cells[label] = {seed: f"{training}-{seed}".replace("=", "") for seed in seeds}
        cells = [
            {
                "label": label,
                "training": label.partition(", ")[0],
                "evaluation": label.partition(", ")[2],
                "key": self.keys[label],
                "settings": {},
                "evals": 1,
                "runs": {str(seed): run for seed, run in runs.items()},
            }
            for label, runs in self.cells.items()
        ]
        self.record = {
            "name": self.name,
            "ablation": {"question": "Which is better?", **self.ablation},
            "base": "recipes/demo.yaml",
            "own_base": "recipes/base_50pct.yaml",
            "small": True,
            "overrides": [],
            "data": "0123456789ab",
            "added": [],
            "left_out": {},
            "cells": cells,
        }
        self.write()
        self.annotations.parent.mkdir(parents=True)
        (self.out / "photos" / "val").mkdir()
        self.annotations.write_text(json.dumps(_truth()))

    def write(self) -> None:
        """Write the record of the plan."""
        path = self.out / "ablations" / f"{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.record))

    def train(self, label: str, seed: int = 0, **figures: Any) -> Path:
        """Record the run of a cell as trained, with `figures`; its folder."""
        folder = self.out / "runs" / self.cells[label][seed]
        last = folder / "run" / "last"
        if not last.is_dir():
            last.mkdir(parents=True)
            recipe = RECIPE.format(data=self.out / "photos")
            (last / "recipe.yaml").write_text(recipe)
        costs = {"train_s": 100.0, "step_s": 0.5, "peak_memory_gb": 1.5, "parameters": 2_000_000}
        old = self.cell(folder)
        values = {**CELL, **costs, "gmacs": 3.0, "device": "one cpu", "evaluations": {}}
        (folder / "cell.json").write_text(json.dumps({**values, **old, **figures}))
        return folder

    def score(self, label: str, moved: float, seed: int = 0, **figures: Any) -> float:
        """Record a cell whose boxes are up to `moved` pixels off; its box AP."""
        folder = self.train(label, seed, **figures)
        key = self.keys[label]
        target = folder / "evals" / key
        target.mkdir(parents=True)
        entries = _found(moved, f"{label} {seed}")
        (target / "predictions.json").write_text(json.dumps(entries))
        ap = score(read_ground_truth(self.annotations), entries, masks=True).to_json()
        values = self.cell(folder)
        values["evaluations"][key] = {"ap": ap, "gmacs": values["gmacs"]}
        (folder / "cell.json").write_text(json.dumps(values))
        assert ap["box_ap"] is not None
        return ap["box_ap"]

    def cell(self, folder: Path) -> dict[str, Any]:
        """What is recorded of a run."""
        path = folder / "cell.json"
        return json.loads(path.read_text()) if path.is_file() else {}


def _truth() -> Mapping[str, Any]:
    """Two objects of different classes in every image."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": SIDE, "width": SIDE}
        for i in range(1, 1 + IMAGES)
    ]
    objects = [
        {
            "id": 2 * i + k,
            "image_id": i,
            "category_id": k + 1,
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": 0,
            "segmentation": [_corners(box)],
        }
        for i in range(1, 1 + IMAGES)
        for k, box in enumerate([(4 + i, 6, 24, 20), (30, 34 - i, 20, 24)])
    ]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": objects, "categories": kinds}


def _found(moved: float, key: str) -> list[dict[str, Any]]:
    rng = random.Random(key)
    entries = []
    for annotation in _truth()["annotations"]:
        x, y, w, h = annotation["bbox"]
        box = (x + rng.uniform(-moved, moved), y + rng.uniform(-moved, moved), w, h)
        entries.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "score": round(rng.uniform(0.3, 1), 3),
                "bbox": list(box),
                "segmentation": to_rle([_corners(box)], SIDE, SIDE),
            }
        )
    return entries


def _corners(box: Sequence[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]
