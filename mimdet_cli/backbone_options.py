"""The options of a backbone by its name: their class, their schema, values checked and completed.

Ours load here, without torch. A third party's package is loaded in a process of its own, so that
no command fails of one that it only asks about its options.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from backbones.options.base import BackboneOptions
from mimdet_cli import isolation, plugins
from mimdet_cli.errors import PluginError
from mimdet_cli.isolation import Answer, Question
from mimdet_cli.recipe.load import Completed, ResolvedRecipe, check_options, with_options
from mimdet_cli.recipe.reading import Origin


class CheckedApart(BackboneOptions):
    """Options that another process has checked: plain values, by the names of that backbone."""

    model_config = ConfigDict(extra="allow")


def options_class(name: str, *, whole: bool = False) -> type[BackboneOptions]:
    """The class of a backbone's options, loaded here.

    It is what the distribution declares in the group `mimdet.options`; where it declares nothing,
    or with `whole`, the backbone's class is loaded, which is then checked too.
    """
    declared = plugins.options_claim(plugins.find(name))
    if declared is None or whole:
        plugins.load(name)  # before torch is, so that what fails early fails fast
        from mimdet_cli.backbone_class import backbone_class

        return backbone_class(name).Options
    found = plugins.load_claim(declared)
    if not (isinstance(found, type) and issubclass(found, BackboneOptions)):
        raise PluginError(
            f"the options of the backbone '{name}' are no class derived from BackboneOptions.",
            where=f"{declared.value} of {declared.provider}",
            fix=f"name the class in the group {plugins.OPTIONS_GROUP}, or leave that entry out.",
        )
    return found


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of a backbone's options."""
    if plugins.chosen(name).ours:
        return options_class(name).model_json_schema()
    found = _apart(name, Question(whole=False)).schema
    assert found is not None
    return found


def check(
    name: str, values: Mapping[str, Any], origins: Mapping[str, Origin], *, whole: bool = False
) -> BackboneOptions:
    """`values` as options of a backbone; errors name `backbone.KEY` and where it was set.

    With `whole` a third party's class is loaded too, and has to keep the contract.
    """
    if plugins.chosen(name).ours:
        return check_options(options_class(name), values, origins)
    answer = _apart(name, Question(whole, values, origins))
    return CheckedApart.model_validate(answer.values)


def complete(resolved: ResolvedRecipe) -> Completed:
    """The recipe with its backbone's options checked and written out."""
    section = resolved.recipe.backbone
    return with_options(resolved, check(section.name, section.values, resolved.origins))


def _apart(name: str, question: Question) -> Answer:
    claim = plugins.find(name)
    with plugins.patience(claim):
        return isolation.ask(name, question).checked(claim)
