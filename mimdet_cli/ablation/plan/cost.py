"""What the runs of a plan cost: steps, images and multiply-accumulates, counted but not computed.

How long the runs that are left will take is known once a run in the same folder is done: time is
taken to be in proportion to multiply-accumulates.
"""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.ablation.plan.identity import EMBEDDED_SIZE, is_embedded
from mimdet_cli.ablation.plan.make import Plan, Run
from mimdet_cli.build import build_detector, complete
from mimdet_cli.data.coco.json_file import read_json
from mimdet_cli.data.coco.split import find_data
from mimdet_cli.data.transforms import EvalTransform
from mimdet_cli.engine.schedule import total_steps
from mimdet_cli.errors import DataError, RecipeError
from mimdet_cli.jobs.profiling import PHOTOGRAPH
from mimdet_cli.jobs.token_sampling import at_ratio, sampling_of
from mimdet_cli.measure.flops import count_macs
from mimdet_cli.measure.parameters import count_parameters
from mimdet_cli.recipe.load import ResolvedRecipe
from mimdet_cli.recipe.schema import CompletedRecipe, Data, Init, Recipe
from mimdet_cli.words import counted, lasting

GIGA = 1e9
POSITIVE = 4  # at most one in four sampled proposals has a mask to learn
COCO = (117_266, 5_000, 80)
"""Images to train on, images to evaluate and classes of COCO, assumed where there are no data."""
FORWARD_AND_BACKWARD = 3  # the backward pass computes twice what the forward pass does


@dataclass(frozen=True, slots=True)
class Work:
    """The steps and images of a training, and 10^9 multiply-accumulates of a whole run.

    `gmacs` are of training, forwards and backwards, and of evaluation, where an image is taken to
    cost as much as forwards in training; None where they cannot be counted.
    """

    steps: int
    images: int
    gmacs: float | None


@dataclass(frozen=True, slots=True)
class PlanCost:
    """The work of each run that is left, by hash.

    `pace` is the median of seconds per 10^9 multiply-accumulates of the `done` runs, if any.
    """

    left: Mapping[str, Work]
    done: int
    pace: float | None

    def seconds(self, work: Work) -> float | None:
        """The time that a run will take; None if unknown."""
        return None if self.pace is None or work.gmacs is None else work.gmacs * self.pace

    def line(self) -> str:
        """One line for a person."""
        if not self.left:
            return "nothing left to do"
        total = self._total()
        line = f"left: {counted(total['steps'], 'step')}, {counted(total['images'], 'image')}"
        line += f", {total['gmacs']:.3g} GMACs"
        uncounted = sum(work.gmacs is None for work in self.left.values())
        line += f", excluding {counted(uncounted, 'run')} of unknown cost" if uncounted else ""
        if total["seconds"] is not None:
            pace = f"at the pace of {counted(self.done, 'run')} in this folder"
            line += f"; about {lasting(total['seconds'])} {pace}"
        return line

    def to_json(self) -> dict[str, Any]:
        """Totals, and the same figures for each run."""
        runs = {
            name: {**asdict(work), "seconds": self.seconds(work)}
            for name, work in self.left.items()
        }
        return {**self._total(), "runs": runs}

    def _total(self) -> dict[str, Any]:
        """Sums over the runs, without those that cannot be counted."""
        works = self.left.values()
        gmacs = sum(work.gmacs for work in works if work.gmacs is not None)
        return {
            "steps": sum(work.steps for work in works),
            "images": sum(work.images for work in works),
            "gmacs": gmacs,
            "seconds": None if self.pace is None else gmacs * self.pace,
        }


def count(recipe: CompletedRecipe, classes: int) -> tuple[int, float | None]:
    """Parameters, and 10^9 multiply-accumulates of one photograph in evaluation.

    These are None for a backbone that cannot run on the meta device.
    """
    detector = _without_values(recipe, classes)
    gmacs = _gmacs(detector, EvalTransform(recipe.data).shape(*PHOTOGRAPH))
    return count_parameters(detector).total, gmacs


def training_gmacs(recipe: CompletedRecipe, classes: int) -> float | None:
    """10^9 multiply-accumulates of one training image of the mean size, forwards.

    None also where evaluation, in whose mode they are counted, cannot sample the share of tokens
    that training does.
    """
    declared = sampling_of(recipe)
    try:
        seen = recipe if declared is None else at_ratio(recipe, declared.train_ratio)
    except RecipeError:
        return None
    regions = recipe.head.roi_batch
    masks = regions // POSITIVE
    return _gmacs(_without_values(seen, classes), _training_size(recipe), regions, masks)


def cost_of(plan: Plan) -> PlanCost:
    """The cost of what is left of a plan."""
    done = [run for run in plan.runs if plan.is_done(run)]
    left = {run.hash: _work(plan, run) for run in plan.runs if run not in done}
    works = [(run, _work(plan, run).gmacs) for run in done if left]
    paces = [_spent_s(plan, run) / gmacs for run, gmacs in works if gmacs is not None]
    return PlanCost(left, len(paces), statistics.median(paces) if paces else None)


def _spent_s(plan: Plan, run: Run) -> float:
    record = plan.record(run)
    scored = (record["evaluations"][scoring.key]["eval_s"] or 0 for scoring in run.scorings)
    return record["train_s"] + sum(scored)


def _work(plan: Plan, run: Run) -> Work:
    recipe = run.recipe.recipe
    embedded = is_embedded(recipe.data, plan.request.out)
    images, val_images, classes = EMBEDDED_SIZE if embedded else _size(recipe.data)
    # runs that differ in seed and weights alone cost the same
    model = recipe.model_copy(update={"seed": 0, "init": Init()}).model_dump_json()
    steps = total_steps(recipe, images)
    learned = steps * recipe.train.batch
    scored = val_images * sum(scoring.evals for scoring in run.scorings)
    forward = _forward(model, classes)
    gmacs = None if forward is None else forward * (FORWARD_AND_BACKWARD * learned + scored)
    return Work(steps, learned, gmacs)


@cache
def _forward(recipe: str, classes: int) -> float | None:
    resolved = ResolvedRecipe(Recipe.model_validate_json(recipe), {}, Path())
    return training_gmacs(complete(resolved).recipe, classes)


def _size(data: Data) -> tuple[int, int, int]:
    """Images of both splits and classes of the data, or those of COCO."""
    try:
        train, val = find_data(data, "train")[0], find_data(data, "val")[0]
    except DataError:
        return COCO
    return _size_of(train, val)


@cache
def _size_of(train: Path, val: Path) -> tuple[int, int, int]:
    first, second = read_json(train), read_json(val)
    return len(first["images"]), len(second["images"]), len(first["categories"])


def _gmacs(detector: MaskRCNN, size: tuple[int, int], *regions: int) -> float | None:
    try:
        return count_macs(detector, size, *regions).total / GIGA
    except RuntimeError:  # it looks at values, of which the meta device has none
        return None


def _without_values(recipe: CompletedRecipe, classes: int) -> MaskRCNN:
    with torch.device("meta"):
        return build_detector(recipe, classes)


def _training_size(recipe: CompletedRecipe) -> tuple[int, int]:
    """Height and width of a photograph in training."""
    data = recipe.data
    if data.jitter is not None:
        return data.jitter.size, data.jitter.size
    sides = {
        "eval_short_side": round(statistics.mean(data.short_side)),
        "eval_max_side": data.max_side,
    }
    height, width = EvalTransform(data.model_copy(update=sides)).shape(*PHOTOGRAPH)
    largest = data.largest or max(height, width)
    return min(height, largest), min(width, largest)
