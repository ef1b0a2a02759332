"""A backbone's options by its name: the class, the JSON schema, and validated values.

Built-in options load here, without torch. A third-party package is loaded in a separate process
that runs this module (see `isolation`), so that a broken one cannot take a command down.
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
from mimdet_cli.isolation import LONG_S, Answer, Question, run_isolated
from mimdet_cli.recipe.load import Completed, ResolvedRecipe, check_options, with_options
from mimdet_cli.recipe.reading import Origin


class IsolatedOptions(BackboneOptions):
    """Options that another process has validated, as plain values."""

    model_config = ConfigDict(extra="allow")

    @property
    def token_sampling(self) -> NoReturn:
        """Unavailable: the backbone's own `Options` class is not loaded here."""
        raise TypeError("options from another process are for display: use `build.complete`")


def options_class(name: str, *, whole: bool = False) -> type[BackboneOptions]:
    """Load a backbone's options class in this process.

    It is the class that the distribution registers in the group `mimdet.options`. If it registers
    none, or with `whole`, the backbone class is loaded and checked instead.
    """
    declared = plugins.options_registration(plugins.find(name))
    if declared is None or whole:
        plugins.load(name)  # before torch, so that a broken package fails fast
        from mimdet_cli.backbone_class import backbone_class

        return backbone_class(name).Options
    options = plugins.load_registration(declared)
    if not (isinstance(options, type) and issubclass(options, BackboneOptions)):
        raise PluginError(
            f"the options of the backbone '{name}' are not a subclass of BackboneOptions.",
            where=f"{declared.value} of {declared.provider}",
            fix=f"register the class in the group {plugins.OPTIONS_GROUP}, or omit that entry.",
        )
    return options


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of a backbone's options."""
    if plugins.resolve(name).ours:
        return options_class(name).model_json_schema()
    answer = _isolated(name, Question(whole=False))
    assert answer.schema is not None
    return answer.schema


def add_to_recipe_schema(
    recipe_schema: dict[str, Any], options: Mapping[str, dict[str, Any]]
) -> None:
    """Describe the section `backbone` of a recipe's JSON schema by `options`, schemas by name.

    A section without `name` may have the options of any of them: a recipe may inherit the name
    from the one that it extends.
    """
    branches = [_branch(recipe_schema, name, schema) for name, schema in options.items()]
    section = recipe_schema["$defs"]["BackboneSection"]
    if len(branches) == 1:
        section.update(branches[0])
    else:
        del section["properties"], section["additionalProperties"]
        section["anyOf"] = branches


def _branch(recipe_schema: dict[str, Any], name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The section of one backbone; `$defs` of its options are prefixed with its name."""
    own = json.loads(json.dumps(schema).replace('"#/$defs/', f'"#/$defs/{name}.'))
    inner = own.pop("$defs", {})
    recipe_schema["$defs"].update({f"{name}.{model}": node for model, node in inner.items()})
    return {
        "properties": {"name": {"const": name}, **own.get("properties", {})},
        "additionalProperties": False,
    }


def check(
    name: str, values: Mapping[str, Any], origins: Mapping[str, Origin], *, whole: bool = False
) -> BackboneOptions:
    """Validate `values` as a backbone's options; errors name `backbone.KEY` and where it was set.

    With `whole`, a third-party backbone class is loaded too and checked against the contract.
    """
    if plugins.resolve(name).ours:
        return check_options(options_class(name), values, origins)
    answer = _isolated(name, Question(whole, values, origins))
    return IsolatedOptions.model_validate(answer.values)


def complete_for_display(resolved: ResolvedRecipe) -> Completed:
    """The recipe with all options of its backbone, for display only.

    Third-party options are `IsolatedOptions`; to run a recipe, use `build.complete`.
    """
    section = resolved.recipe.backbone
    return with_options(resolved, check(section.name, section.values, resolved.origins))


def ask(name: str, question: Question, timeout_s: float = LONG_S) -> Answer:
    """Answer a question: about a built-in backbone here, about another in a separate process."""
    if plugins.find(name).ours:
        return _answer(name, question)
    return run_isolated(name, question, timeout_s)


def _isolated(name: str, question: Question) -> Answer:
    registration = plugins.find(name)
    with plugins.report_slow_import(registration):
        return ask(name, question).checked(registration)


def _answer(name: str, question: Question) -> Answer:
    try:
        kind = options_class(name, whole=question.whole)
        schema = kind.model_json_schema()
        if question.values is None:
            return Answer(schema)
        options = check_options(kind, question.values, question.origins)
        return Answer(schema, options.model_dump(mode="json"))
    except MimdetError as error:
        return Answer(errors=tuple(error.each()), traceback="".join(format_exception(error)))


def _answer_or_blame(name: str, question: Mapping[str, Any]) -> Answer:
    """As `_answer`, but an unexpected error of the package's code becomes an answer too."""
    origins = {key: Origin(**origin) for key, origin in question["origins"].items()}
    try:
        return _answer(name, Question(question["whole"], question["values"], origins))
    except Exception as error:
        registration = plugins.find(name)
        known = plugins.blame(error) or PluginError(
            f"the backbone '{registration.name}' failed: {plugins.one_line(error)}",
            where=f"{registration.value} of {registration.provider}",
        )
        return Answer(errors=(known,), traceback="".join(format_exception(error)))


if __name__ == "__main__":
    _name, _question_file, _answer_file = sys.argv[1:]
    _question = json.loads(Path(_question_file).read_text(encoding="utf-8"))
    _result = _answer_or_blame(_name, _question)
    Path(_answer_file).write_text(json.dumps(_result.to_json()), encoding="utf-8")
