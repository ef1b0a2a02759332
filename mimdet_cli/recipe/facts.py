"""Facts about recipe keys, read off the marks (`Effect`, `Identity`, `Role`) of their fields.

A key is dotted, as `--set` takes it: `data.crop.size`. Items of a list of sections have the keys
`init.more.weights`. Keys of `backbone` are known where the class of its options is given.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from backbones.options.effects import Effect, Identity, Role
from mimdet_cli.recipe.completed import CompletedRecipe
from mimdet_cli.recipe.schema import Recipe

BACKBONE: Final = "backbone"

Mark = Effect | Identity | Role
Model = type[BaseModel]
Fields = Mapping[str, FieldInfo]


@dataclass(frozen=True, slots=True)
class Facts:
    """The marks of one key, with what holds where there are none."""

    effect: Effect = Effect.TRAINING
    identity: Identity = Identity.COUNTED
    roles: frozenset[Role] = frozenset()

    def has(self, mark: Mark) -> bool:
        """Whether the key is marked so; one that changes both changes each."""
        if isinstance(mark, Effect):
            return mark in self.effect if mark else not self.effect
        return mark is self.identity or mark in self.roles


def facts(model: Model = Recipe, options: Model | None = None) -> dict[str, Facts]:
    """The facts of every key of `model`, in the order of its fields.

    `options` are those of the backbone.
    """
    return dict(_walk(model.model_fields, "", Effect.TRAINING, options))


def keys_with(mark: Mark, model: Model = Recipe, options: Model | None = None) -> tuple[str, ...]:
    """The keys of `model` that are marked so, in the order of its fields."""
    return tuple(key for key, found in facts(model, options).items() if found.has(mark))


def counted(recipe: CompletedRecipe) -> dict[str, Any]:
    """The values of a recipe that take part in the identity of its run, as JSON."""
    values, options = recipe.model_dump(mode="json"), type(recipe.backbone.options)
    return _counted(values, Recipe.model_fields, Effect.TRAINING, options)


def section_in(annotation: Any) -> Model | None:
    """The section that a value is, may be, or is a list of; None where it is none of these."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def _walk(
    fields: Fields, prefix: str, above: Effect, options: Model | None
) -> Iterator[tuple[str, Facts]]:
    for name, field in fields.items():
        found = _facts_of(field, above)
        section = section_in(field.annotation)
        if section is None or section is not field.annotation:  # a value, null or a list
            yield f"{prefix}{name}", found
        inner = _fields_in(name, section, options)
        yield from _walk(inner, f"{prefix}{name}.", found.effect, None)


def _counted(
    values: Mapping[str, Any], fields: Fields, above: Effect, options: Model | None
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        field = fields[name]
        found = _facts_of(field, above)
        if not found.effect or found.identity is Identity.COUNTED_APART:
            continue
        if found.identity is Identity.COUNTED_UNLESS_DEFAULT and value == _default(field):
            continue
        inner = _fields_in(name, section_in(field.annotation), options)
        if isinstance(value, Mapping) and inner:
            value = _counted(value, inner, found.effect, None)
        elif isinstance(value, list) and inner:
            value = [_counted(item, inner, found.effect, None) for item in value]
        kept[name] = value
    return kept


def _facts_of(field: FieldInfo, above: Effect) -> Facts:
    """A field's facts in a section whose effect is `above`."""
    effects = [mark for mark in field.metadata if isinstance(mark, Effect)]
    identities = [mark for mark in field.metadata if isinstance(mark, Identity)]
    roles = frozenset(mark for mark in field.metadata if isinstance(mark, Role))
    return Facts((effects or [above])[-1], (identities or [Identity.COUNTED])[-1], roles)


def _fields_in(name: str, section: Model | None, options: Model | None) -> Fields:
    """The fields of the section called `name`; none where it is a value."""
    own = {} if section is None else dict(section.model_fields)
    return own | options.model_fields if name == BACKBONE and options is not None else own


def _default(field: FieldInfo) -> Any:
    return to_jsonable_python(field.get_default(call_default_factory=True))
