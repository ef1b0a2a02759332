"""What follows from the share of its tokens that a recipe's backbone sees, as it declares it."""

from collections.abc import Mapping, Sequence

from backbones.options.base import TokenSampling
from mimdet_cli.errors import RecipeError
from mimdet_cli.evaluation.ensemble import SampledEvals
from mimdet_cli.recipe.load import check_options
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.reading import Origin, flatten
from mimdet_cli.recipe.schema import CompletedRecipe


def sampling_of(recipe: CompletedRecipe) -> TokenSampling | None:
    """What the backbone declares; None where it always sees every token."""
    return recipe.backbone.options.token_sampling


def eval_ratio(recipe: CompletedRecipe) -> float | None:
    """Share of the tokens seen in evaluation; None for a backbone that leaves none out."""
    declared = sampling_of(recipe)
    return None if declared is None else declared.eval_ratio


def sampled_evals(recipe: CompletedRecipe, evals: int = 1) -> SampledEvals | None:
    """How the tokens of an image are drawn; None where no evaluation draws any."""
    return SampledEvals(recipe.seed, evals) if why_equal(recipe) is None else None


def why_equal(recipe: CompletedRecipe) -> str | None:
    """Why all evaluations of an image give the same; None where tokens are drawn at random."""
    declared = sampling_of(recipe)
    if declared is None:
        return f"the backbone '{recipe.backbone.name}' leaves no tokens out"
    if declared.eval_ratio == 1:
        return f"the backbone sees every token ({declared.eval_option} 1)"
    return None if declared.stochastic else "the same tokens are chosen every time"


def equal_evals(evals: int, reason: str) -> str:
    """What is wrong with several evaluations; `reason` is that of `why_equal`."""
    return f"{evals} evaluations would all be the same: {reason}."


def refuse_equal_evals(recipe: CompletedRecipe, evals: int) -> None:
    """Several evaluations are of use only where each draws other tokens."""
    if not isinstance(evals, int) or evals < 1:
        raise RecipeError(
            f"an image cannot be evaluated {evals!r} times.",
            where="evals",
            fix="give a whole number of at least 1.",
        )
    reason = why_equal(recipe)
    if evals > 1 and reason is not None:
        raise RecipeError(
            equal_evals(evals, reason),
            where="evals",
            fix="leave evals out"
            + (", or give a ratio below 1." if eval_ratio(recipe) == 1 else "."),
        )


def at_ratio(
    recipe: CompletedRecipe,
    ratio: float,
    *,
    training: bool = False,
    overrides: Sequence[Override] = (),
) -> CompletedRecipe:
    """The recipe with the share `ratio` in evaluation, and with `training` there too.

    Refused where the backbone leaves no tokens out, where the share does not fit its other
    options, and where `overrides` set the share as well.
    """
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise RecipeError(
            f"a share of {ratio!r} of the tokens is not possible.",
            where="ratio",
            fix="give a number greater than 0 and at most 1.",
        )
    declared = sampling_of(recipe)
    if declared is None:
        raise RecipeError(
            f"the backbone '{recipe.backbone.name}' sees every token; it has no ratio.",
            where="ratio",
            fix="leave the ratio out.",
        )
    options = [declared.eval_option, *([declared.train_option] if training else [])]
    keys = [f"backbone.{option}" for option in options]
    set_too = {key for one in overrides for key, _ in flatten(one.nested())}
    if twice := [key for key in keys if key in set_too]:
        raise RecipeError(
            f"the ratio {ratio:g} and an override both set '{twice[0]}'.",
            where="ratio",
            fix="leave out one of them.",
        )
    origins = dict.fromkeys(keys, Origin(f"ratio {ratio:g}"))
    return with_values(recipe, dict.fromkeys(options, ratio), origins)


def with_values(
    recipe: CompletedRecipe,
    values: Mapping[str, object],
    origins: Mapping[str, Origin],
) -> CompletedRecipe:
    """The recipe with other values of its backbone's options, checked together."""
    options = recipe.backbone.options
    changed = check_options(type(options), {**recipe.backbone.values, **values}, origins)
    section = recipe.backbone.model_copy(update={"options": changed})
    return recipe.model_copy(update={"backbone": section})
