"""Building blocks of the kinds: the base model, bounded field types and schema markers.

The markers become the `x-kubernetes-…` keys of the generated CRDs; the bounds are enforced by the API
server and again by pydantic when an object is read.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

JsonObject = dict[str, JsonValue]

RULES_KEY = "x-kubernetes-validations"
PATTERN_MESSAGE_KEY = "x-edgecanary-pattern-message"
"""Schema key for what a person reads when a pattern does not match; the CRD gets a CEL rule instead."""


class ApiModel(BaseModel):
    """Base of every API type: camelCase on the wire, frozen in memory, unknown fields dropped.

    The API server prunes unknown fields too; dropping them here lets an older program read objects
    that a newer one wrote.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> JsonObject:
        """The object as plain JSON values under its wire names, absent values left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Rule:
    """A CEL rule: what must hold, and what a person reads when it does not. Messages say "must".

    `got` is a CEL expression for a string: the offending value, which the server adds to the message. It is
    for rules on objects and lists, since the server shows a field's own value by itself.
    """

    expression: str
    message: str
    got: str = ""

    def to_json(self) -> JsonObject:
        """The rule as an item of `x-kubernetes-validations`."""
        item: JsonObject = {"rule": self.expression, "message": self.message}
        if self.got:
            item["messageExpression"] = f"{json.dumps(self.message + ', got ')} + {self.got}"
        return item


def validations(*items: Rule) -> JsonObject:
    """CEL rules on one field's value."""
    return {RULES_KEY: [item.to_json() for item in items]}


def rules(*items: Rule) -> ConfigDict:
    """Model configuration with CEL rules on the whole object."""
    return ConfigDict(json_schema_extra=validations(*items))


def patterned(pattern: str, message: str, *, max_length: int) -> FieldInfo:
    r"""A string that matches `pattern`; the server says `message` instead of the expression.

    The pattern must mean the same to Go's and to Rust's regular expressions: no look-around, no `\s`
    (Unicode only in one of them), no single quotes.
    """
    field: FieldInfo = Field(
        max_length=max_length, pattern=pattern, json_schema_extra={PATTERN_MESSAGE_KEY: message}
    )
    return field


def list_map(*keys: str) -> JsonObject:
    """Marks a list as a map by `keys`: duplicates are refused and appliers may own single items."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: JsonObject = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: JsonObject = {"x-kubernetes-list-type": "atomic"}
MAP_ATOMIC: JsonObject = {"x-kubernetes-map-type": "atomic"}


def _require_zone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("must have a time zone, such as 2026-01-31T12:00:00Z")
    return moment


Time = Annotated[datetime, AfterValidator(_require_zone)]
"""An RFC 3339 time with a zone."""

ObjectName = Annotated[
    str,
    patterned(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "must be the name of an object: lower-case letters, digits, - and ., "
        "with a letter or digit at both ends of each part",
        max_length=253,
    ),
]
"""The name of a Kubernetes object (DNS subdomain)."""

ShortName = Annotated[
    str,
    patterned(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower-case letters, digits and -, with a letter or digit at both ends",
        max_length=63,
    ),
]
"""A name inside an object: a step, a metric, a variant (DNS label)."""

Digest = Annotated[
    str, patterned(r"^[0-9a-f]{64}$", "must be 64 lower-case hexadecimal digits (SHA-256)", max_length=64)
]
"""A SHA-256 digest, 64 lower-case hexadecimal digits."""

DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?$"
POSITIVE_DECIMAL_PATTERN = r"^[0-9]+(\.[0-9]+)?$"

DecimalString = Annotated[
    str, patterned(DECIMAL_PATTERN, 'must be a decimal number in quotes, such as "0.02"', max_length=32)
]
"""A decimal number as a string, since floats do not survive every client."""

PositiveDecimalString = Annotated[
    str,
    patterned(
        POSITIVE_DECIMAL_PATTERN,
        'must be a decimal number in quotes that is not negative, such as "0.001"',
        max_length=32,
    ),
]
"""A decimal number that is not negative, as a string."""

ByteQuantity = Annotated[
    str,
    patterned(
        r"^([1-9][0-9]*(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)(Ki|Mi|Gi|Ti|k|M|G|T)?$",
        "must be a quantity of bytes above 0, such as 256Mi",
        max_length=32,
    ),
]
"""A Kubernetes quantity of bytes, such as 256Mi."""

Reason = Annotated[
    str,
    patterned(
        r"^([A-Z][A-Za-z0-9]*)?$", "must be a reason in PascalCase, such as ProbeFailed", max_length=128
    ),
]
"""A machine reason in PascalCase."""

MESSAGE_LIMIT = 4096
"""The longest message, in characters."""

Message = Annotated[str, Field(max_length=MESSAGE_LIMIT)]
"""A sentence for a person."""


def clip(message: str) -> str:
    """The message, cut to what the API server takes."""
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


Token = Annotated[str, Field(max_length=253)]
"""The value of an action annotation; each new value is one action."""
