"""Describe the allowed values of a field in words, from the JSON schema of its model."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def node_at(schema: Schema, path: tuple[str | int, ...]) -> Schema:
    """The part of `schema` for the value at `path`; empty if there is none."""
    node = _follow(schema, schema)
    for part in path:
        if isinstance(part, int):
            items = node.get("prefixItems", [])
            node = items[part] if part < len(items) else node.get("items", {})
        else:
            node = node.get("properties", {}).get(part, {})
        node = _follow(node, schema)
    return node


def keys_of(schema: Schema, node: Schema | None = None, prefix: str = "") -> Iterator[str]:
    """Dotted keys of a model, including sections."""
    properties = _follow(schema if node is None else node, schema).get("properties", {})
    for key, child in properties.items():
        yield f"{prefix}{key}"
        yield from keys_of(schema, child, f"{prefix}{key}.")


def describe(node: Schema, root: Schema) -> str:
    """A phrase that completes "give ..."."""
    if "$ref" in node:
        return describe(_follow(node, root), root)
    if "anyOf" in node:
        return ", or ".join(describe(branch, root) for branch in node["anyOf"])
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    kind = node.get("type")
    if kind == "array":
        return _describe_list(node, root)
    if kind == "object":
        keys = ", ".join(node.get("properties", {}))
        return f"a section with the keys {keys}" if keys else "a section"
    return _NOUNS.get(str(kind), "another value") + _bounds(node)


def _describe_list(node: Schema, root: Schema) -> str:
    items = node.get("prefixItems") or [node.get("items", {})]
    count = f"a list of {len(node['prefixItems'])}" if "prefixItems" in node else "a list"
    return f"{count}, each {describe(items[0], root)}"


def _bounds(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    step = f" that is a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
    if low is not None and high is not None:
        return f" from {low} to {high}{step}"
    lower = f"of at least {low}" if low is not None else ""
    lower = f"greater than {above}" if above is not None else lower
    upper = f"at most {high}" if high is not None else ""
    upper = f"less than {below}" if below is not None else upper
    if upper and not lower:
        upper = upper.replace("at most", "of at most")
    text = " and ".join(part for part in (lower, upper) if part)
    return f" {text}{step}" if text else step


def _follow(node: Schema, root: Schema) -> Schema:
    """Resolve a reference; for a nullable section, to the section."""
    if "$ref" in node:
        return _follow(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    sections = [branch for branch in node.get("anyOf", []) if "$ref" in branch]
    return _follow(sections[0], root) if len(sections) == 1 else node
