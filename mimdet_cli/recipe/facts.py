"""Facts about recipe keys, from the marks (`Effect`, `Identity`, `Role`) on their fields.

Keys are dotted, as in `--set`: `data.crop.size`. Items of a list of sections have keys such as
`init.more.weights`. Keys of `backbone` are included if the class of its options is given.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from backbones.options.effects import Effect, Identity, Role
from mimdet_cli.recipe.schema import CompletedRecipe, Recipe

BACKBONE: Final = "backbone"

Mark = Effect | Identity | Role
Model = type[BaseModel]
Fields = Mapping[str, FieldInfo]


@dataclass(frozen=True, slots=True)
class Facts:
    """The marks of one key; the defaults apply to an unmarked one."""

    effect: Effect = Effect.TRAINING
    identity: Identity = Identity.COUNTED
    roles: frozenset[Role] = frozenset()

    def has(self, mark: Mark) -> bool:
        """Whether the key has `mark`; one that affects training and evaluation has both effects."""
        if isinstance(mark, Effect):
            return mark in self.effect if mark else not self.effect
        return mark is self.identity or mark in self.roles


def facts(model: Model = Recipe, options: Model | None = None) -> dict[str, Facts]:
    """The facts of every key of `model`, in field order; `options` is the backbone's class."""
    return dict(_walk(model.model_fields, "", Effect.TRAINING, options))


def keys_with(mark: Mark, model: Model = Recipe, options: Model | None = None) -> tuple[str, ...]:
    """The keys of `model` with `mark`, in field order."""
    return tuple(key for key, fact in facts(model, options).items() if fact.has(mark))


def identity_values(recipe: CompletedRecipe) -> dict[str, Any]:
    """The values of a recipe that identify its run, as JSON."""
    values, options = recipe.model_dump(mode="json"), type(recipe.backbone.options)
    return _identity_values(values, Recipe.model_fields, Effect.TRAINING, options)


def section_in(annotation: Any) -> Model | None:
    """The model in `annotation`, which may be optional or a list; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def _walk(
    fields: Fields, prefix: str, above: Effect, options: Model | None
) -> Iterator[tuple[str, Facts]]:
    for name, field in fields.items():
        fact = _facts_of(field, above)
        section = section_in(field.annotation)
        if section is None or section is not field.annotation:  # a value, null or a list
            yield f"{prefix}{name}", fact
        inner = _fields_in(name, section, options)
        yield from _walk(inner, f"{prefix}{name}.", fact.effect, None)


def _identity_values(
    values: Mapping[str, Any], fields: Fields, above: Effect, options: Model | None
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        field = fields[name]
        fact = _facts_of(field, above)
        if not fact.effect or fact.identity is Identity.COUNTED_APART:
            continue
        if fact.identity is Identity.COUNTED_UNLESS_DEFAULT and value == _default(field):
            continue
        inner = _fields_in(name, section_in(field.annotation), options)
        if isinstance(value, Mapping) and inner:
            value = _identity_values(value, inner, fact.effect, None)
        elif isinstance(value, list) and inner:
            value = [_identity_values(item, inner, fact.effect, None) for item in value]
        kept[name] = value
    return kept


def _facts_of(field: FieldInfo, above: Effect) -> Facts:
    """A field's facts in a section whose effect is `above`."""
    effects = [mark for mark in field.metadata if isinstance(mark, Effect)]
    identities = [mark for mark in field.metadata if isinstance(mark, Identity)]
    roles = frozenset(mark for mark in field.metadata if isinstance(mark, Role))
    return Facts((effects or [above])[-1], (identities or [Identity.COUNTED])[-1], roles)


def _fields_in(name: str, section: Model | None, options: Model | None) -> Fields:
    """The fields of the section called `name`; empty for a plain value."""
    own = {} if section is None else dict(section.model_fields)
    return own | options.model_fields if name == BACKBONE and options is not None else own


def _default(field: FieldInfo) -> Any:
    return to_jsonable_python(field.get_default(call_default_factory=True))
