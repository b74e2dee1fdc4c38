"""The fields of an API type as a Markdown table: type, default, bounds and rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edgecanary.api.fields import PATTERN_MESSAGE_KEY, RULES_KEY, JsonObject
from edgelab.generate.crd import as_written
from edgelab.generate.enums import value_meanings
from edgelab.generate.structural import Structural, as_list, as_object, as_text, paragraphs


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def link(type_name: str) -> str:
    """A link to the section of a type or kind."""
    return f"[{type_name}](#{type_name.lower()})"


class FieldsTable:
    """Describes the fields of `types`, the named schemas of the API."""

    def __init__(self, types: Mapping[str, JsonObject]) -> None:
        self.types = types
        self._structural = Structural(types, explained=True)

    def describe(self, name: str) -> str:
        """The fields of the type `name` as a table, and its rules as a list."""
        schema = self.types[name]
        fields = {field: as_object(value) for field, value in _properties(schema).items()}
        if not fields:
            return "It has no fields.\n"
        required = as_list(schema.get("required", []))
        rows = [self._row(field, value, required=field in required) for field, value in fields.items()]
        text = table(("Field", "Type", "Default", "Bounds", "What it is"), rows)
        rules = [f"- {message}\n" for message in self._rules(schema, fields)]
        return f"{text}\nRules:\n\n{''.join(rules)}" if rules else text

    def users(self, name: str) -> list[str]:
        """The types that have a field of the type `name`, or of a list of it."""
        return [
            user
            for user, schema in self.types.items()
            if any(self._refers_to(as_object(field), name) for field in _properties(schema).values())
        ]

    def _refers_to(self, field: JsonObject, name: str) -> bool:
        items = self._structural.resolve(field).get("items")
        return self._structural.reference(field) == name or (
            isinstance(items, dict) and self._structural.reference(items) == name
        )

    def _row(self, name: str, field: JsonObject, *, required: bool) -> tuple[str, ...]:
        whole = self._structural.resolve(field)
        computed = bool(whole.get("readOnly"))
        default = "required" if required and not computed else _default(whole)
        description = paragraphs(as_text(whole["description"]))
        return f"`{name}`", self._type(field), default, ", ".join(self._bounds(whole)), description

    def _type(self, field: JsonObject) -> str:
        reference = self._structural.reference(field)
        if reference is not None and ("properties" in self.types[reference] or value_meanings(reference)):
            return link(reference)
        whole = self._structural.resolve(field)
        if "enum" in whole:
            return ", ".join(f"`{value}`" for value in as_list(whole["enum"]))
        if "items" in whole:
            return f"list of {self._type(as_object(whole['items']))}"
        if {"additionalProperties", "patternProperties"} & whole.keys():
            return "map of strings"
        return "time" if whole.get("format") == "date-time" else as_text(whole["type"])

    def _bounds(self, whole: JsonObject) -> Iterator[str]:
        if PATTERN_MESSAGE_KEY in whole:
            yield as_text(whole[PATTERN_MESSAGE_KEY]).removeprefix("must ").removeprefix("be ")
        if str(whole.get("maxLength")) not in as_text(whole.get(PATTERN_MESSAGE_KEY, "")):
            yield from _range(whole, "minLength", "maxLength", " characters")
        yield from _sizes(whole)
        if "items" in whole:
            items = self._structural.resolve(as_object(whole["items"]))
            yield from (f"each {bound}" for bound in self._bounds(items))

    def _rules(self, schema: JsonObject, fields: Mapping[str, JsonObject]) -> Iterator[str]:
        for name, field in fields.items():
            for message in _messages(field):
                yield f"`{name}` {message}" if message.startswith("must") else f"`{name}`: {message}"
        yield from _messages(schema)


def _properties(schema: JsonObject) -> JsonObject:
    return as_object(schema.get("properties", {}))


def _messages(schema: JsonObject) -> Iterator[str]:
    for rule in as_list(schema.get(RULES_KEY, [])):
        yield as_text(as_object(rule)["message"])


def _sizes(whole: JsonObject) -> Iterator[str]:
    yield from _range(whole, "minimum", "maximum", "")
    yield from _range(whole, "minItems", "maxItems", " items")
    yield from _range(whole, "minProperties", "maxProperties", " entries")
    keys = whole.get("x-kubernetes-list-map-keys")
    if keys is not None:
        yield f"unique by {' and '.join(f'`{key}`' for key in as_list(keys))}"
    if whole.get("x-kubernetes-list-type") == "set":
        yield "no duplicates"


def _range(whole: JsonObject, low_key: str, high_key: str, unit: str) -> Iterator[str]:
    low, high = whole.get(low_key), whole.get(high_key)
    if low is not None and high is not None:
        yield f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
    elif low is not None:
        yield f"at least {low}{unit}"
    elif high is not None:
        yield f"at most {high}{unit}"


def _default(whole: JsonObject) -> str:
    default = whole.get("default")
    return "" if default in (None, "", []) else f"`{as_written(default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n\n", "<br>")
