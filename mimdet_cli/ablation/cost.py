"""How long the runs that are left will take, and what that rests on.

Runs are compared by their multiply-accumulates. Their pace is that of the runs that are done in the
same folder, or else that at which this machine multiplies matrices, which is a guess.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from mimdet_cli.ablation import own_data
from mimdet_cli.ablation.count import GIGA, training_gmacs
from mimdet_cli.ablation.folder import is_done
from mimdet_cli.ablation.layout import CELL, read_record, run_folder
from mimdet_cli.ablation.plan import Plan, Run
from mimdet_cli.build import choose_device, complete
from mimdet_cli.data.coco.json_file import read_json
from mimdet_cli.data.coco.split import find_data
from mimdet_cli.engine.schedule import total_steps
from mimdet_cli.errors import DataError
from mimdet_cli.recipe.load import ResolvedRecipe
from mimdet_cli.recipe.schema import Data, Init, Recipe
from mimdet_cli.words import counted, lasting

COCO = (117_266, 5_000, 80)
"""Images to train on, images to evaluate and classes of COCO, assumed where there are no data."""
SPLITS: tuple[Literal["train"], Literal["val"]] = ("train", "val")
FORWARD_AND_BACKWARD = 3  # the backward pass computes twice what the forward pass does
SIDE = 1024
CALIBRATION_S = 0.3


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of each run that is left, one after the other, by hash; and what they rest on."""

    seconds: Mapping[str, float]
    basis: str

    @property
    def total_s(self) -> float:
        """Seconds of all of them."""
        return sum(self.seconds.values())

    def line(self) -> str:
        """One line for a person."""
        if not self.seconds:
            return "nothing is left to do"
        return f"predicted: {lasting(self.total_s)}, {self.basis}"

    def to_json(self) -> dict[str, Any]:
        """A record."""
        return {"seconds": self.total_s, "basis": self.basis, "runs": dict(self.seconds)}


def predict(plan: Plan, device: str | None) -> Cost:
    """The cost of what is left of a plan on one machine."""
    out = plan.request.out
    left = [run for run in plan.runs if not is_done(out, run)]
    done = [run for run in plan.runs if is_done(out, run)]
    weights = {run.hash: _gmacs(plan, run) for run in (*left, *done)} if left else {}
    known = {name: weight for name, weight in weights.items() if weight is not None}
    paces = [_spent_s(out, run) / known[run.hash] for run in done if run.hash in known]
    if paces:
        pace = statistics.median(paces)
        basis = f"at the pace of {counted(len(paces), 'run')} in this folder"
    else:
        chosen = choose_device(device)
        pace = 1 / _matrix_gmacs_per_s(chosen) if left else 0.0
        basis = (
            f"a guess from multiply-accumulates, at the pace of matrix products on {chosen}; "
            "it may be off by a factor of three"
        )
    unknown = sum(weights[run.hash] is None for run in left)
    if unknown:
        basis += f"; without {counted(unknown, 'run')} whose cost cannot be counted"
    return Cost({run.hash: known[run.hash] * pace for run in left if run.hash in known}, basis)


def _spent_s(out: Path, run: Run) -> float:
    record = read_record(run_folder(out, run.hash) / CELL)
    scored = (record["evaluations"][one.key]["eval_s"] or 0 for one in run.scorings)
    return record["train_s"] + sum(scored)


def _gmacs(plan: Plan, run: Run) -> float | None:
    """Everything that a run computes; None where it cannot be counted."""
    recipe = run.recipe.recipe
    own = own_data.is_own(recipe.data, plan.request.out)
    images, val_images, classes = own_data.AMOUNTS if own else _amounts(recipe.data)
    # runs of one training cost the same
    model = recipe.model_copy(update={"seed": 0, "init": Init()}).model_dump_json()
    forward = _forward(model, classes)
    if forward is None:
        return None
    learned = total_steps(recipe, images) * recipe.train.batch
    scored = val_images * sum(one.evals for one in run.scorings)
    return forward * (FORWARD_AND_BACKWARD * learned + scored)


@cache
def _forward(recipe: str, classes: int) -> float | None:
    """10^9 multiply-accumulates of an image in training; evaluation is taken to cost the same."""
    resolved = ResolvedRecipe(Recipe.model_validate_json(recipe), {}, Path())
    return training_gmacs(complete(resolved).recipe, classes)


def _amounts(data: Data) -> tuple[int, int, int]:
    """Images of both splits and classes of the data, or those of COCO."""
    try:
        train, val = (find_data(data, split)[0] for split in SPLITS)
    except DataError:
        return COCO
    return _amounts_in(train, val)


@cache
def _amounts_in(train: Path, val: Path) -> tuple[int, int, int]:
    first, second = (read_json(file) for file in (train, val))
    return len(first["images"]), len(second["images"]), len(first["categories"])


def _matrix_gmacs_per_s(device: torch.device) -> float:
    """How fast a device multiplies matrices, in 10^9 multiply-accumulates.

    On a CPU the time is that of the threads that compute, whatever else the machine does.
    """
    matrix = torch.zeros(SIDE, SIDE, device=device)
    (matrix @ matrix)[0, 0].item()  # the first product prepares the device
    threads = torch.get_num_threads()
    products, began, worked = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < CALIBRATION_S:
        (matrix @ matrix)[0, 0].item()  # reading a number waits for a GPU
        products += 1
    by_clock, by_work = time.perf_counter() - began, (time.process_time() - worked) / threads
    spent = by_work if device.type == "cpu" else by_clock
    return products * SIDE**3 / spent / GIGA
