"""What sections of options share: how a value is checked, and types that several of them use.

Nothing here or in the modules beside it imports torch, so that a recipe is checked quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class NormName:
    """Marks a type whose values are names of normalisations, whatever the option is called."""


NORM_NAME: Final = NormName()
Norm = Annotated[Literal["bn", "syncbn", "ln", "gn", "none"], NORM_NAME]
"""Normalisation of convolution maps; `backbones.layers.norm` has the modules."""


class Section(BaseModel):
    """Unknown keys are errors, values never change, docstrings become help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


@dataclass(frozen=True, slots=True)
class TokenSampling:
    """The shares of its tokens that a backbone sees in training and in evaluation.

    `eval_option` and `train_option` are the options that set them. `stochastic`: every forward pass
    in evaluation samples new tokens, so that several evaluations differ.
    """

    train_ratio: float
    eval_ratio: float
    stochastic: bool
    train_option: str = "train_ratio"
    eval_option: str = "eval_ratio"


class BackboneOptions(Section):
    """Base of a backbone's options: the keys of the recipe's `backbone` section."""

    @property
    def token_sampling(self) -> TokenSampling | None:
        """What share of the tokens is seen; None for a backbone that always sees all of them."""
        return None


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def for_one_process(options: AnyModel) -> AnyModel:
    """The options with every `Norm` "syncbn" replaced by "bn", in sections too.

    A single process has nothing to synchronise; the parameters are the same.
    """
    changed: dict[str, Any] = {}
    for key, field in type(options).model_fields.items():
        is_norm = NORM_NAME in field.metadata or _has_norms(field.annotation)
        changed[key] = _alone(getattr(options, key), is_norm)
    return options.model_copy(update=changed)


def _has_norms(hint: Any) -> bool:
    """Whether a type, or one inside it, is marked."""
    return hint is NORM_NAME or any(_has_norms(part) for part in get_args(hint))


def _alone(value: Any, is_norm: bool) -> Any:
    if isinstance(value, BaseModel):
        return for_one_process(value)
    if isinstance(value, Mapping):
        return {key: _alone(item, is_norm) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_alone(item, is_norm) for item in value)
    return "bn" if is_norm and value == "syncbn" else value
