"""Freezing: parameters that do not learn, chosen by name, and their batch norms' statistics."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from torch import nn

from mimdet_cli.errors import RecipeError

BatchNorm = nn.modules.batchnorm._BatchNorm


def freeze(detector: nn.Module, patterns: Sequence[str]) -> None:
    """Stop the parameters whose full name matches one of `patterns` from learning."""
    errors = []
    named = dict(detector.named_parameters())
    for pattern in patterns:
        try:
            found = [name for name in named if re.fullmatch(pattern, name)]
        except re.error as error:
            errors.append(_wrong(f"'{pattern}' is not a regular expression: {error}.", ""))
            continue
        if not found:
            near = get_close_matches(pattern.replace("\\", ""), named, n=1, cutoff=0.0)
            errors.append(_wrong(f"'{pattern}' matches no parameter.", f" such as '{near[0]}'"))
        for name in found:
            named[name].requires_grad_(False)
    if patterns and not errors and not any(p.requires_grad for p in named.values()):
        errors.append(_wrong("the patterns leave nothing to train.", ""))
    if errors:
        raise RecipeError.joined(errors)


def to_training_mode(detector: nn.Module) -> None:
    """Training mode, but batch norms whose weights are frozen keep their statistics.

    A backbone may keep more of them, by its `train` method.
    """
    detector.train()
    for module in detector.modules():
        if isinstance(module, BatchNorm) and module.weight is not None:
            module.training &= module.weight.requires_grad


def _wrong(what: str, example: str) -> RecipeError:
    return RecipeError(
        what,
        where="train.freeze",
        fix=f"give full parameter names{example}; `.*` matches anything.",
    )
