"""The options of a backbone by its name: their class, their schema, values checked and completed.

Ours load here, without torch. A third party's package is loaded in a process of its own, which runs
this module (see `isolation`), so that no command fails of one that it only asks about its options.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from traceback import format_exception
from typing import Any, NoReturn

from pydantic import ConfigDict

from backbones.options.base import BackboneOptions
from mimdet_cli import plugins
from mimdet_cli.errors import MimdetError, PluginError
from mimdet_cli.isolation import LONG_S, Answer, Question, ask_apart
from mimdet_cli.recipe.load import Completed, ResolvedRecipe, check_options, with_options
from mimdet_cli.recipe.reading import Origin


class CheckedApart(BackboneOptions):
    """Options that another process has checked: plain values, by the names of that backbone."""

    model_config = ConfigDict(extra="allow")

    @property
    def token_sampling(self) -> NoReturn:
        """Only the backbone's own class knows it, which is not loaded here."""
        raise TypeError("options that were checked apart are for showing: use `build.complete`")


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


def completed_to_show(resolved: ResolvedRecipe) -> Completed:
    """The recipe with its backbone's options checked and written out, to be shown, not run.

    A third party's options are `CheckedApart`; `build.complete` loads the class that jobs need.
    """
    section = resolved.recipe.backbone
    return with_options(resolved, check(section.name, section.values, resolved.origins))


def ask(name: str, question: Question, timeout_s: float = LONG_S) -> Answer:
    """The answer about the backbone `name`: one of ours is asked here, a third party's apart."""
    if plugins.find(name).ours:
        return _answer(name, question)
    return ask_apart(name, question, timeout_s)


def _apart(name: str, question: Question) -> Answer:
    claim = plugins.find(name)
    with plugins.patience(claim):
        return ask(name, question).checked(claim)


def _answer(name: str, question: Question) -> Answer:
    """The answer of this process."""
    try:
        kind = options_class(name, whole=question.whole)
        schema = kind.model_json_schema()
        if question.values is None:
            return Answer(schema)
        options = check_options(kind, question.values, question.origins)
        return Answer(schema, options.model_dump(mode="json"))
    except MimdetError as error:
        return Answer(errors=tuple(error.each()), traceback="".join(format_exception(error)))


def _answer_whatever_it_raises(name: str, asked: Mapping[str, Any]) -> Answer:
    """The answer in a process of its own: an error of the package's code is one too."""
    origins = {key: Origin(**origin) for key, origin in asked["origins"].items()}
    try:
        return _answer(name, Question(asked["whole"], asked["values"], origins))
    except Exception as error:
        claim = plugins.find(name)
        known = plugins.blame(error) or PluginError(
            f"the backbone '{claim.name}' failed: {plugins.reason(error)}",
            where=f"{claim.value} of {claim.provider}",
        )
        return Answer(errors=(known,), traceback="".join(format_exception(error)))


if __name__ == "__main__":
    _name, _asked, _answered = sys.argv[1:]
    _found = _answer_whatever_it_raises(_name, json.loads(Path(_asked).read_text(encoding="utf-8")))
    Path(_answered).write_text(json.dumps(_found.to_json()), encoding="utf-8")
