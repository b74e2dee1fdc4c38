"""From a pydantic model to a structural schema, the kind that a CustomResourceDefinition takes.

References are inlined, `null` alternatives and titles dropped, patterns with a message become CEL
rules, and everything comes in one fixed order of keys.
"""

import inspect
from collections.abc import Mapping

from pydantic import JsonValue

from edgecanary.api.fields import PATTERN_MESSAGE_KEY, RULES_KEY, ApiModel, JsonObject

_KEYS = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "items",
    "properties",
    "additionalProperties",
    "required",
    RULES_KEY,
)
"""What a structural schema may hold, in the order in which it is written."""

_DROPPED = {"title", "anyOf", "$ref", "$defs", "propertyNames", "patternProperties", "readOnly", "const"}
_INT32_MAX = 2**31 - 1


class SchemaError(Exception):
    """An API type has something that a structural schema cannot say."""


def structural_schema(model: type[ApiModel], *, explained: bool) -> JsonObject:
    """The schema of `model` with everything inlined.

    `explained` schemas are for what people write: a pattern with a message becomes a CEL rule, which says
    the message. Without it patterns stay patterns, which cost the server less.

    Raises:
        SchemaError: the model uses what a structural schema cannot say.
    """
    document = json_schema(model)
    return Structural(definitions_of(document), explained).convert(document, model.__name__)


def json_schema(model: type[ApiModel]) -> JsonObject:
    """The schema of `model` as pydantic gives it, with the computed fields."""
    return model.model_json_schema(by_alias=True, mode="serialization")


def definitions_of(document: JsonObject) -> dict[str, JsonObject]:
    """The named schemas that a pydantic schema refers to."""
    return {name: as_object(schema) for name, schema in as_object(document.get("$defs", {})).items()}


class Structural:
    """Converts schemas that refer to `definitions`."""

    def __init__(self, definitions: Mapping[str, JsonObject], explained: bool) -> None:
        self._definitions = definitions
        self._explained = explained

    def convert(self, source: JsonObject, where: str) -> JsonObject:
        """The structural form of `source`; `where` names it in errors."""
        merged = self.resolve(source)
        _inline_keys(merged, explained=self._explained)
        message = merged.pop(PATTERN_MESSAGE_KEY, None)
        if message is not None and self._explained:
            _prepend_rule(merged, f"self.matches(r'{merged.pop('pattern')}')", as_text(message))
        self._convert_children(merged, where)
        _drop_empty_default(merged)
        _set_integer_format(merged)
        if "description" in merged:
            merged["description"] = paragraphs(as_text(merged["description"]))
        unknown = merged.keys() - _DROPPED - set(_KEYS)
        if unknown:
            raise SchemaError(f"{where}: no structural schema for {', '.join(sorted(unknown))}")
        return {key: merged[key] for key in _KEYS if key in merged}

    def resolve(self, source: JsonObject) -> JsonObject:
        """`source` with its reference and its `anyOf` with null followed; its own keys win, rules add up."""
        base: JsonObject = {}
        reference = self.reference(source)
        if reference is not None:
            base = self.resolve(self._definitions[reference])
        elif "anyOf" in source:
            base = self.resolve(_not_null(source))
        merged = {**base, **source}
        both = [*as_list(base.get(RULES_KEY, [])), *as_list(source.get(RULES_KEY, []))]
        if both:
            merged[RULES_KEY] = [_ordered(as_object(rule)) for rule in both]
        return merged

    def reference(self, source: JsonObject) -> str | None:
        """The name of the definition that `source` is, directly or as the alternative to null."""
        if "$ref" in source:
            return as_text(source["$ref"]).removeprefix("#/$defs/")
        return self.reference(_not_null(source)) if "anyOf" in source else None

    def _convert_children(self, merged: JsonObject, where: str) -> None:
        if "properties" in merged:
            properties = as_object(merged["properties"])
            computed = {name for name, field in properties.items() if as_object(field).get("readOnly")}
            merged["properties"] = {
                name: self.convert(as_object(field), f"{where}.{name}") for name, field in properties.items()
            }
            required = [name for name in as_list(merged.get("required", [])) if name not in computed]
            merged["required"] = required
            if not required:
                del merged["required"]
        for key in ("items", "additionalProperties"):
            if isinstance(merged.get(key), dict):
                merged[key] = self.convert(as_object(merged[key]), f"{where}.{key}")
            else:
                merged.pop(key, None)


def paragraphs(text: str) -> str:
    """`text` with the lines of each paragraph joined, since readers wrap it to their own width."""
    blocks = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def _ordered(rule: JsonObject) -> JsonObject:
    return {key: rule[key] for key in ("rule", "message", "messageExpression") if key in rule}


def _not_null(source: JsonObject) -> JsonObject:
    alternatives = [as_object(item) for item in as_list(source["anyOf"])]
    others = [item for item in alternatives if item.get("type") != "null"]
    if len(others) != 1:
        raise SchemaError(f"a structural schema has no alternatives: {source}")
    return others[0]


def _inline_keys(schema: JsonObject, *, explained: bool) -> None:
    """Turns a pattern for a map's keys, which structural schemas do not know, into a CEL rule."""
    patterns = as_object(schema.get("patternProperties", {}))
    for pattern, value in patterns.items():
        schema["additionalProperties"] = value
        if explained:
            names = as_object(schema["propertyNames"])
            rule = f"self.all(key, key.size() <= {names['maxLength']} && key.matches(r'{pattern}'))"
            _prepend_rule(schema, rule, f"every key {as_text(names[PATTERN_MESSAGE_KEY])}")


def _prepend_rule(schema: JsonObject, expression: str, message: str) -> None:
    rule: JsonObject = {"rule": expression, "message": message}
    schema[RULES_KEY] = [rule, *as_list(schema.get(RULES_KEY, []))]


def _drop_empty_default(schema: JsonObject) -> None:
    """An absent value says the same as null, an empty string or an empty list."""
    if schema.get("default", "") in (None, "", []):
        schema.pop("default", None)


def _set_integer_format(schema: JsonObject) -> None:
    if schema.get("type") != "integer":
        return
    maximum = schema.get("maximum")
    if not isinstance(maximum, int) or maximum > _INT32_MAX:
        schema["format"] = "int64"


def as_object(value: JsonValue) -> JsonObject:
    """`value`, which must be a JSON object."""
    if not isinstance(value, dict):
        raise SchemaError(f"expected an object, got {value!r}")
    return value


def as_list(value: JsonValue) -> list[JsonValue]:
    """`value`, which must be a JSON list."""
    if not isinstance(value, list):
        raise SchemaError(f"expected a list, got {value!r}")
    return value


def as_text(value: JsonValue) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise SchemaError(f"expected a string, got {value!r}")
    return value
