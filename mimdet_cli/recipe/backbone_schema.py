"""The options of named backbones inside the JSON schema of recipes."""

import json
from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def add_backbones(document: Schema, options: Mapping[str, Schema]) -> None:
    """Describe the section `backbone` of `document` by the schemas of `options`, by name.

    A section without `name` may have the options of any one of them: a recipe that extends
    another may leave its name there.
    """
    branches = [_branch(document, name, schema) for name, schema in options.items()]
    section = document["$defs"]["BackboneSection"]
    if len(branches) == 1:
        section.update(branches[0])
    else:
        del section["properties"], section["additionalProperties"]
        section["anyOf"] = branches


def _branch(document: Schema, name: str, schema: Schema) -> Schema:
    """The section of one backbone; models inside its options get its name before theirs."""
    own: Schema = json.loads(json.dumps(schema).replace('"#/$defs/', f'"#/$defs/{name}.'))
    inner = own.pop("$defs", {})
    document["$defs"].update({f"{name}.{model}": node for model, node in inner.items()})
    return {
        "properties": {"name": {"const": name}, **own.get("properties", {})},
        "additionalProperties": False,
    }
