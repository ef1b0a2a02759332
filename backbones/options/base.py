"""What sections of options share: how a value is checked, and types that several of them use.

Nothing here or in the modules beside it imports torch, so that a recipe is checked in a moment.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Norm = Literal["bn", "syncbn", "ln", "gn", "none"]
"""Normalisation of convolution maps; `backbones.layers.norm` has the modules."""


class Section(BaseModel):
    """Unknown keys are errors, values never change, docstrings become help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


@dataclass(frozen=True, slots=True)
class TokenSampling:
    """The shares of its tokens that a backbone sees in training and in evaluation.

    `eval_option` and `train_option` are the options that set them. `stochastic` tells that a
    forward pass in evaluation draws its tokens anew, so that several of them differ.
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
