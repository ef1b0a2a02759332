"""Token sampling of a recipe's backbone: its ratio, and whether evaluations differ."""

from collections.abc import Mapping, Sequence

from backbones.options.base import TokenSampling
from mimdet_cli.errors import RecipeError
from mimdet_cli.evaluation.ensemble import SampledEvals
from mimdet_cli.recipe.load import check_options
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin, flatten
from mimdet_cli.recipe.schema import CompletedRecipe


def sampling_of(recipe: CompletedRecipe) -> TokenSampling | None:
    """The token sampling that the backbone declares; None if it always sees every token."""
    return recipe.backbone.options.token_sampling


def eval_ratio(recipe: CompletedRecipe) -> float | None:
    """Share of tokens seen in evaluation; None for a backbone that does not drop any."""
    declared = sampling_of(recipe)
    return None if declared is None else declared.eval_ratio


def sampled_evals(recipe: CompletedRecipe, evals: int = 1) -> SampledEvals | None:
    """How tokens are sampled in evaluation; None if they are not sampled at random."""
    return SampledEvals(recipe.seed, evals) if why_equal(recipe) is None else None


def why_equal(recipe: CompletedRecipe) -> str | None:
    """Why all evaluations of an image are identical; None if tokens are sampled at random."""
    declared = sampling_of(recipe)
    if declared is None:
        return f"the backbone '{recipe.backbone.name}' does not drop tokens"
    if declared.eval_ratio == 1:
        return f"the backbone sees every token ({declared.eval_option} 1)"
    return None if declared.stochastic else "the same tokens are chosen every time"


def equal_evals(evals: int, reason: str) -> str:
    """The problem with several evaluations; `reason` is from `why_equal`."""
    return f"{evals} evaluations would be identical: {reason}."


def refuse_equal_evals(recipe: CompletedRecipe, evals: int) -> None:
    """Raise if `evals` is invalid, or greater than 1 although all evaluations are identical."""
    if not isinstance(evals, int) or evals < 1:
        raise RecipeError(
            f"{evals!r} is not a valid number of evaluations.",
            where="evals",
            fix="give a whole number of at least 1.",
        )
    reason = why_equal(recipe)
    if evals > 1 and reason is not None:
        raise RecipeError(
            equal_evals(evals, reason),
            where="evals",
            fix="omit evals" + (", or give a ratio below 1." if eval_ratio(recipe) == 1 else "."),
        )


def at_ratio(
    recipe: CompletedRecipe,
    ratio: float,
    *,
    training: bool = False,
    overrides: Sequence[Override] = (),
) -> CompletedRecipe:
    """The recipe with the token share `ratio` in evaluation and, with `training`, in training.

    Raises if the backbone does not drop tokens, if the ratio conflicts with its other options, or
    if `overrides` set it as well.
    """
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise RecipeError(
            f"{ratio!r} is not a valid token ratio.",
            where="ratio",
            fix="give a number greater than 0 and at most 1.",
        )
    declared = sampling_of(recipe)
    if declared is None:
        raise RecipeError(
            f"the backbone '{recipe.backbone.name}' always sees every token; it has no ratio.",
            where="ratio",
            fix="omit the ratio.",
        )
    options = [declared.eval_option, *([declared.train_option] if training else [])]
    keys = [f"backbone.{option}" for option in options]
    overridden = {key for override in overrides for key, _ in flatten(override.nested())}
    if conflicts := [key for key in keys if key in overridden]:
        raise RecipeError(
            f"the ratio {ratio:g} and an override both set '{conflicts[0]}'.",
            where="ratio",
            fix="omit one of them.",
        )
    origins = dict.fromkeys(keys, Origin(f"ratio {ratio:g}"))
    return with_values(recipe, dict.fromkeys(options, ratio), origins)


def with_values(
    recipe: CompletedRecipe,
    values: Mapping[str, object],
    origins: Mapping[str, Origin],
) -> CompletedRecipe:
    """The recipe with changed options of its backbone, validated together."""
    options = recipe.backbone.options
    changed = check_options(type(options), {**recipe.backbone.values, **values}, origins)
    section = recipe.backbone.model_copy(update={"options": changed})
    return recipe.model_copy(update={"backbone": section})
