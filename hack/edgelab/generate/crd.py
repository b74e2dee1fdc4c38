"""CustomResourceDefinitions from the API types."""

import yaml
from pydantic import JsonValue

from edgecanary import __version__
from edgecanary.api import GROUP, VERSION, VERSION_ANNOTATION
from edgecanary.api.fields import JsonObject
from edgelab.generate.kinds import Column, Kind
from edgelab.generate.structural import as_list, as_object, as_text, structural_schema

CATEGORY = "edgecanary"
_NEVER_WRAP = 1_000_000
NOTICE = "# Generated from operator/edgecanary/api by `make generate`. Change the types, not this file.\n"

_META: JsonObject = {
    "apiVersion": {
        "description": f"The group and version of the schema: {GROUP}/{VERSION}.",
        "type": "string",
    },
    "kind": {"description": "The kind of object.", "type": "string"},
    "metadata": {"type": "object"},
}


def definition(kind: Kind) -> JsonObject:
    """The CustomResourceDefinition of `kind`."""
    names: JsonObject = {
        "categories": [CATEGORY],
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "shortNames": [kind.short_name],
        "singular": kind.singular,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "annotations": {VERSION_ANNOTATION: __version__},
            "name": f"{kind.plural}.{GROUP}",
        },
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def schema(kind: Kind) -> JsonObject:
    """The structural schema of `kind`."""
    plain = as_object(structural_schema(kind.model, explained=False)["properties"])
    explained = structural_schema(kind.model, explained=True)
    spec = (
        as_object(as_object(explained["properties"])["spec"]) if kind.authored else as_object(plain["spec"])
    )
    if not spec.get("properties"):
        # The API server drops it, and kubectl would see a difference for ever.
        spec.pop("properties", None)
    _default_nested(spec)
    _tell_bounds(spec)
    properties: JsonObject = {**_META, "spec": spec}
    if kind.new_status is not None:
        status = as_object(plain["status"])
        _drop_defaults(status)
        properties["status"] = {**status, "default": kind.new_status} if kind.new_status else status
    return {**explained, "properties": properties}


def to_yaml(kind: Kind) -> str:
    """The CustomResourceDefinition of `kind` as a YAML file."""
    text: str = yaml.dump(
        definition(kind), Dumper=_Dumper, sort_keys=False, width=_NEVER_WRAP, allow_unicode=True
    )
    return f"{NOTICE}{text}"


def as_written(value: JsonValue) -> str:
    """A scalar as a person writes it in a manifest."""
    text: str = yaml.safe_dump(value, default_style=None, default_flow_style=True)
    return text.removesuffix("...\n").strip().replace("'", '"')


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, with items of lists indented and quoted text as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Text with quotes as a block, which needs no doubling of them."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "'" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _version(kind: Kind) -> JsonObject:
    version: JsonObject = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": schema(kind)},
    }
    if kind.new_status is not None:
        version["subresources"] = {"status": {}}
    return version


def _column(column: Column) -> JsonObject:
    entry: JsonObject = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
    }
    return {**entry, "priority": 1} if column.wide else entry


def _default_nested(schema: JsonObject) -> None:
    """Gives an optional object whose fields all have defaults the default `{}`, so that they show."""
    required = as_list(schema.get("required", []))
    for name, value in as_object(schema.get("properties", {})).items():
        child = as_object(value)
        _default_nested(child)
        fields = [as_object(field) for field in as_object(child.get("properties", {})).values()]
        if name not in required and fields and all("default" in field for field in fields):
            child["default"] = {}


def _tell_bounds(schema: JsonObject) -> None:
    """Adds default and bounds to the descriptions, since `kubectl explain` does not show them."""
    for child in as_object(schema.get("properties", {})).values():
        field = as_object(child)
        text = as_text(field.get("description", ""))
        if not isinstance(field.get("default", {}), dict):
            text += f" Default: {as_written(field['default'])}."
        if "minimum" in field and "maximum" in field:
            text += f" From {field['minimum']} to {field['maximum']}."
        field["description"] = text
        _tell_bounds(as_object(field.get("items", field)))


def _drop_defaults(schema: JsonObject) -> None:
    """The operator and the agents write a whole status; defaults in it would only add noise."""
    schema.pop("default", None)
    for child in as_object(schema.get("properties", {})).values():
        _drop_defaults(as_object(child))
    for key in ("items", "additionalProperties"):
        if key in schema:
            _drop_defaults(as_object(schema[key]))
