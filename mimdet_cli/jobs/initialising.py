"""Give a new detector the weights that its recipe's `init` names."""

from collections.abc import Sequence
from typing import Any

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.data.annotations import Category
from mimdet_cli.errors import RecipeError
from mimdet_cli.jobs.fine_tuning import find_checkpoint, take_over
from mimdet_cli.progress import Progress
from mimdet_cli.recipe.completed import CompletedRecipe
from mimdet_cli.weights.load import load_weights
from mimdet_cli.weights.locate import LocatedWeights, locate, pixel_warnings


def initialise(
    detector: MaskRCNN, recipe: CompletedRecipe, categories: Sequence[Category], progress: Progress
) -> list[dict[str, Any]]:
    """Load the recipe's weights; a record of how each file was used."""
    checkpoint = find_checkpoint(recipe.init)
    if checkpoint is not None:
        return [take_over(detector, checkpoint, recipe, categories, progress)]
    sources = locate(recipe.init)
    if recipe.init.weights is None:
        progress.say("weights: random, because init.weights is null")
    for warning in pixel_warnings(sources, recipe.data):
        progress.warn(warning)
    return [_load(detector, source, recipe, progress) for source in sources]


def _load(
    detector: MaskRCNN, source: LocatedWeights, recipe: CompletedRecipe, progress: Progress
) -> dict[str, Any]:
    maps = detector.backbone.key_maps
    if source.format not in maps:
        raise RecipeError(
            f"the backbone '{recipe.backbone.name}' cannot read '{source.format}' files.",
            where="init.format",
            fix=f"it reads {', '.join(maps) or 'none'}.",
        )
    report = load_weights(
        detector, maps[source.format], source.path, source.format, recipe.init.allow_missing
    )
    for line in report.lines():
        progress.say(line)
    provenance = source.provenance()
    if provenance["licence"]:
        progress.say(f"  licence: {provenance['licence']}")
    return {**report.to_json(), "lines": report.lines(), **provenance}
