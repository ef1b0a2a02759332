"""What a training costs is counted at its own share of the tokens, where evaluation takes it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from unit.conformance.wrong_backbones import SampledOptions

from mimdet_cli.ablation.plan.count import training_gmacs
from mimdet_cli.recipe.load import ResolvedRecipe, with_options
from mimdet_cli.recipe.schema import Recipe


class WholeLater(SampledOptions):
    """Options that take only large shares in evaluation."""

    kept_later: Annotated[float, Field(ge=0.75, le=1)] = 1.0
    """Share of the cells in evaluation."""


def test_a_share_that_evaluation_does_not_take_leaves_the_cost_unknown():
    given = ResolvedRecipe(Recipe.model_validate({"backbone": {"name": "halves"}}), {}, Path("x"))
    assert training_gmacs(with_options(given, WholeLater()).recipe, classes=3) is None
