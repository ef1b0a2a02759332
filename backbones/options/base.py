"""What sections of options share: how a value is checked, and types that several of them use.

Nothing here or in the modules beside it imports torch, so that a recipe is checked in a moment.
"""

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


class BackboneOptions(Section):
    """Base of a backbone's options: the keys of the recipe's `backbone` section."""
