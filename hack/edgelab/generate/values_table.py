"""The reference of the chart's values: comments and defaults of values.yaml, types and bounds of its schema."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.generate.fields_table import table
from edgelab.generate.structural import as_list, as_object, as_text

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]\w*):(?: |$)")
_COMMENT = re.compile(r"^ *# -- (?P<text>.+)$")
_NEXT_LEVEL = 2

_INTRODUCTION = """\
# Values of the chart

<!-- Generated from charts/edgecanary (values.yaml, values.schema.json, files/profiles.yaml) by `make generate`. -->

What `helm install --values` takes; [Install](../guides/install.md) says how. A value that is not on this page, of
another type or beyond its bounds is refused, and helm names it. `null` leaves the choice to the chart.
"""
_PROFILES = """\
## Profiles

What `agent.profile` decides, as long as the value `agent.…` of the same name is null:
"""


@dataclass(frozen=True)
class Value:
    """One documented value."""

    path: str
    text: str
    default: JsonValue
    type: str


def page(chart: Path) -> str:
    """The whole page, for the chart in a folder."""
    parts = [_INTRODUCTION]
    sections: dict[str, list[Value]] = {}
    for value in values(chart):
        first = value.path.partition(".")[0]
        sections.setdefault(first if "." in value.path else "", []).append(value)
    for name, found in sections.items():
        rows = [(f"`{value.path}`", value.type, _shown(value.default), value.text) for value in found]
        heading = f"`{name}`" if name else "In general"
        parts.append(f"## {heading}\n\n{table(('Value', 'Type', 'Default', 'Meaning'), rows)}")
    return "\n".join([*parts, _PROFILES, _profiles(chart)])


def values(chart: Path) -> Iterator[Value]:
    """The values that values.yaml documents, in its order."""
    text = (chart / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    schema = json.loads((chart / "values.schema.json").read_text())
    for path, meaning in comments(text):
        keys = path.split(".")
        default: JsonValue = defaults
        for key in keys:
            default = as_object(default)[key]
        yield Value(path, meaning, default, described(schema, schema_at(schema, keys)))


def comments(text: str) -> Iterator[tuple[str, str]]:
    """The path of each value that has a comment with two dashes before it, with that comment."""
    parents: list[str] = []
    pending = ""
    for line in text.splitlines():
        if found := _COMMENT.match(line):
            pending = found["text"]
        elif found := _KEY.match(line):
            parents = [*parents[: len(found["indent"]) // _NEXT_LEVEL], found["key"]]
            if pending:
                yield ".".join(parents), pending
            pending = ""


def schema_at(schema: JsonObject, keys: list[str]) -> JsonObject:
    """The schema of the value at a path. Raises KeyError when it has none."""
    node = schema
    for key in keys:
        node = as_object(as_object(_resolved(schema, node)["properties"])[key])
    return node


def described(schema: JsonObject, node: JsonObject) -> str:
    """The type and bounds of a value in a few words."""
    found = _resolved(schema, node)
    if "title" in found:
        return as_text(found["title"])
    if "anyOf" in found:
        return " or ".join(described(schema, as_object(choice)) for choice in as_list(found["anyOf"]))
    if "const" in found:
        return "empty" if found["const"] == "" else f"`{found['const']}`"
    if "enum" in found:
        return " or ".join(f"`{choice}`" for choice in as_list(found["enum"]))
    kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
    return " or ".join(_bounded(schema, found, as_text(kind)) for kind in kinds)


def _bounded(schema: JsonObject, found: JsonObject, kind: str) -> str:
    if kind == "integer" and "minimum" in found:
        return f"{found['minimum']} to {found['maximum']}"
    if kind == "array":
        items = as_object(found["items"])
        return f"list of {described(schema, items)}s" if "$ref" in items else "list"
    return {"object": "map", "boolean": "true or false"}.get(kind, kind)


def _resolved(schema: JsonObject, node: JsonObject) -> JsonObject:
    if "$ref" not in node:
        return node
    return as_object(as_object(schema["$defs"])[as_text(node["$ref"]).rpartition("/")[2]])


def _profiles(chart: Path) -> str:
    profiles: Mapping[str, JsonObject] = yaml.safe_load((chart / "files" / "profiles.yaml").read_text())
    names = list(profiles)
    fields = list(next(iter(profiles.values())))
    rows = [(f"`agent.{field}`", *(_shown(profiles[name][field]) for name in names)) for field in fields]
    return table(("Value", *(f"`{name}`" for name in names)), rows)


def _shown(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    return f"`{text}`" if value != "" else '`""`'
