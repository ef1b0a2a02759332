"""Parameters and multiply-accumulates of a recipe's detector, without computing anything."""

import statistics
from dataclasses import dataclass

import torch

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import build_detector
from mimdet_cli.data.transforms import EvalTransform
from mimdet_cli.errors import RecipeError
from mimdet_cli.jobs.profiling import PHOTOGRAPH
from mimdet_cli.jobs.token_sampling import at_ratio, sampling_of
from mimdet_cli.measure.flops import count_macs
from mimdet_cli.measure.parameters import count_parameters
from mimdet_cli.recipe.schema import CompletedRecipe

GIGA = 1e9
POSITIVE = 4  # at most one in so many sampled proposals has a mask to learn


@dataclass(frozen=True, slots=True)
class Counts:
    """Parameters, and 10^9 multiply-accumulates of one photograph in evaluation.

    `gmacs` is None for a backbone that has to see values to run.
    """

    parameters: int
    gmacs: float | None


def count(recipe: CompletedRecipe, classes: int) -> Counts:
    """Count the detector of a completed recipe."""
    detector = _shapes(recipe, classes)
    parameters = count_parameters(detector).total
    try:
        macs = count_macs(detector, EvalTransform(recipe.data).shape(*PHOTOGRAPH))
    except RuntimeError:  # it looks at values, of which the meta device has none
        return Counts(parameters, None)
    return Counts(parameters, macs.total / GIGA)


def training_gmacs(recipe: CompletedRecipe, classes: int) -> float | None:
    """10^9 multiply-accumulates of one training image of the mean size, forwards.

    None where the detector has to see values to run, or takes no such share in evaluation.
    """
    declared = sampling_of(recipe)
    try:
        seen = recipe if declared is None else at_ratio(recipe, declared.train_ratio)
    except RecipeError:
        return None
    detector = _shapes(seen, classes)
    regions = recipe.head.roi_batch
    try:
        macs = count_macs(detector, _training_size(recipe), regions, regions // POSITIVE)
    except RuntimeError:
        return None
    return macs.total / GIGA


def _shapes(recipe: CompletedRecipe, classes: int) -> MaskRCNN:
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
