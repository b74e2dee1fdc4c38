"""The API reference in Markdown."""

from collections.abc import Sequence
from pathlib import Path

from edgecanary.api import API_VERSION, GROUP, VERSION
from edgecanary.api.fields import JsonObject
from edgelab.generate.crd import CATEGORY
from edgelab.generate.enums import value_meanings
from edgelab.generate.fields_table import FieldsTable, link, table
from edgelab.generate.kinds import Kind
from edgelab.generate.structural import as_text, definitions_of, json_schema, paragraphs

EXAMPLES = Path(__file__).parent / "examples"
_NOT_OURS = ("ObjectMeta", "OwnerReference")
_INTRODUCTION = f"""# API reference

<!-- Generated from operator/edgecanary/api by `make generate`. Change the types, not this page. -->

Four kinds in the group `{GROUP}`, version `{VERSION}`, all namespaced. People write EdgeModels and Rollouts; the
operator writes ModelReleases and each node's agent its EdgeNode. `kubectl get {CATEGORY}` lists the objects of every
kind, and `kubectl explain rollout.spec.strategy.steps` shows in the terminal what this page says.

Decimal numbers are strings (`"0.02"`), since floats do not survive every client; times are RFC 3339. The API
server enforces every bound and every rule on this page: it refuses what breaks one, and names the field.
"""
_ACTIONS = (
    "What a person tells the operator besides the spec: annotations on the object whose value is a token, such as "
    "the time. Each new token is one action; `status.actions` shows the tokens that were handled."
)


def page(kinds: Sequence[Kind]) -> str:
    """The whole page."""
    types = _types(kinds)
    fields = FieldsTable(types)
    links = _section_links(types, kinds)
    parts = [
        _INTRODUCTION,
        _contents(kinds),
        *(_kind_section(kind, fields) for kind in kinds),
        "## Types\n\nWhat the fields above are made of, by name.\n",
        *(_type_section(name, fields, links) for name in types if links[name] == link(name)),
    ]
    return "\n".join(parts)


def example(kind: Kind) -> str:
    """A manifest of the kind, as YAML."""
    return (EXAMPLES / f"{kind.singular}.yaml").read_text(encoding="utf-8")


def _types(kinds: Sequence[Kind]) -> dict[str, JsonObject]:
    """Every named type that the kinds use."""
    found: dict[str, JsonObject] = {}
    for kind in kinds:
        found |= definitions_of(json_schema(kind.model))
    return {name: schema for name, schema in sorted(found.items()) if name not in _NOT_OURS}


def _section_links(types: dict[str, JsonObject], kinds: Sequence[Kind]) -> dict[str, str]:
    """A link to the section about each type: of its own, or of the kind whose spec or status it is.

    Enumerations whose values are not explained have none; fields name their values.
    """
    links = {name: link(name) for name in types if "properties" in types[name] or value_meanings(name)}
    for kind in kinds:
        for part in ("Spec", "Status"):
            title = f"{kind.name} {part.lower()}"
            links[f"{kind.name}{part}"] = f"[{title}](#{title.lower().replace(' ', '-')})"
    return {name: links.get(name, "") for name in types}


def _contents(kinds: Sequence[Kind]) -> str:
    rows = [(link(kind.name), f"`{kind.short_name}`", _summary(kind)) for kind in kinds]
    return table(("Kind", "Short name", "What it is"), rows)


def _summary(kind: Kind) -> str:
    return paragraphs(kind.model.__doc__ or "").split("\n\n")[0]


def _kind_section(kind: Kind, fields: FieldsTable) -> str:
    columns = [
        (column.name, "`-o wide`" if column.wide else "always", column.description) for column in kind.columns
    ]
    parts = [
        f"## {kind.name}\n",
        f"{paragraphs(kind.model.__doc__ or '')}\n",
        f"apiVersion `{API_VERSION}`, plural `{kind.plural}`, short name `{kind.short_name}`.\n",
        f"```yaml\n{example(kind)}```\n",
        f"### {kind.name} spec\n",
        fields.describe(f"{kind.name}Spec"),
    ]
    if kind.new_status is not None:
        parts += [f"### {kind.name} status\n", fields.describe(f"{kind.name}Status")]
    if kind.actions:
        actions = [(f"`{action.annotation}`", action.description) for action in kind.actions]
        parts += [
            f"### {kind.name} actions\n",
            f"{_ACTIONS}\n",
            table(("Annotation", "What it does"), actions),
        ]
    parts += [f"### {kind.name} columns\n", f"What `kubectl get {kind.short_name}` shows:\n"]
    parts.append(table(("Column", "Shown", "What it is"), columns))
    return "\n".join(parts)


def _type_section(name: str, fields: FieldsTable, links: dict[str, str]) -> str:
    schema = fields.types[name]
    parts = [f"### {name}\n", f"{paragraphs(as_text(schema['description']))}\n"]
    if users := [links[user] for user in fields.users(name)]:
        parts.append(f"In: {', '.join(users)}.\n")
    if "properties" in schema:
        parts.append(fields.describe(name))
    else:
        meanings = value_meanings(name)
        values = [(f"`{value}`", meanings.get(str(value), "")) for value in _values(schema)]
        parts.append(table(("Value", "What it means"), values))
    return "\n".join(parts)


def _values(schema: JsonObject) -> list[str]:
    values = schema["enum"]
    return [str(value) for value in values] if isinstance(values, list) else []
