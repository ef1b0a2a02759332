"""A recipe whose backbone's options are checked and written out; what is built and run."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, model_serializer

from backbones.options.base import BackboneOptions
from mimdet_cli.recipe.schema import BackboneSection, Recipe


class CompletedBackbone(BackboneSection):
    """The backbone by name, and all of its options; written as one flat section."""

    model_config = ConfigDict(extra="forbid")

    options: BackboneOptions
    """An instance of the backbone's own `Options`."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Every option as a plain value."""
        return self.options.model_dump(mode="json")

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.values}


class CompletedRecipe(Recipe):
    """A recipe with every option of its backbone."""

    backbone: CompletedBackbone
    """Backbone name and its checked options."""
