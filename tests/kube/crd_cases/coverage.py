"""Finds what a structural schema demands, to see that each demand has a case."""

from collections.abc import Iterator
from dataclasses import dataclass

from edgecanary.api.fields import RULES_KEY, JsonObject
from edgelab.generate.structural import as_list, as_object, as_text
from tests.kube.crd_cases.objects import keys
from tests.kube.crd_cases.table import Case

ITEM = "*"
"""Stands for every item of a list and every value of a map."""

_SIGNS = {
    "enum": "Unsupported value",
    "pattern": "should match",
    "minimum": "should be greater than or equal to {}",
    "maximum": "should be less than or equal to ",
    "minLength": "should be at least {} chars long",
    "maxLength": "may not be more than {} ",
    "minItems": "should have at least {} items",
    "maxItems": "must have at most {} items",
    "maxProperties": "must have at most {} items",
}
"""What the server says about each keyword of a schema; {} is the keyword's value."""


@dataclass(frozen=True)
class Demand:
    """Something that the server refuses with words that begin with `says`, at a field."""

    field: tuple[str, ...]
    says: str

    def __str__(self) -> str:
        return f"{'.'.join(self.field)}: {self.says}"

    def met_by(self, case: Case) -> bool:
        """Whether the case shows that the server enforces it."""
        if not case.says or len(found := keys(case.at)) != len(self.field):
            return False
        same = all(want in (ITEM, got) for want, got in zip(self.field, found, strict=True))
        return same and (case.says.startswith(self.says) or self.says.startswith(case.says))


def demands(schema: JsonObject, field: tuple[str, ...]) -> Iterator[Demand]:
    """Every demand of a schema and of all within it."""
    for key, sign in _SIGNS.items():
        if key in schema:
            yield Demand(field, sign.format(schema[key]))
    for rule in as_list(schema.get(RULES_KEY, [])):
        yield Demand(field, as_text(as_object(rule)["message"]))
    if schema.get("x-kubernetes-list-type") in ("map", "set"):
        yield Demand((*field, ITEM), "Duplicate value")
    yield from (
        Demand((*field, as_text(name)), "Required value") for name in as_list(schema.get("required", []))
    )
    for name, child in as_object(schema.get("properties", {})).items():
        yield from demands(as_object(child), (*field, name))
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from demands(as_object(schema[key]), (*field, ITEM))
