"""From a type to a structural schema."""

from enum import StrEnum
from typing import Annotated

import pytest
from pydantic import Field, computed_field

from edgecanary.api.fields import ApiModel, Rule, Time, list_map, patterned, rules, validations
from edgelab.generate.structural import SchemaError, paragraphs, structural_schema


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Inner(ApiModel):
    """The inner type."""

    model_config = rules(Rule("self.a != ''", "a must not be empty", "self.a"))

    a: str = Field(description="A.")


def _fields(model: type[ApiModel], *, explained: bool = True) -> dict[str, object]:
    schema = structural_schema(model, explained=explained)["properties"]
    assert isinstance(schema, dict)
    return dict(schema)


def test_a_reference_is_inlined_with_its_rules_and_the_fields_own_description() -> None:
    class Outer(ApiModel):
        inner: Inner | None = Field(default=None, description="Own.")

    rule = {
        "rule": "self.a != ''",
        "message": "a must not be empty",
        "messageExpression": '"a must not be empty, got " + self.a',
    }
    assert _fields(Outer)["inner"] == {
        "description": "Own.",
        "type": "object",
        "properties": {"a": {"description": "A.", "type": "string"}},
        "required": ["a"],
        "x-kubernetes-validations": [rule],
    }


def test_the_rules_of_a_field_come_after_those_of_its_type() -> None:
    class Outer(ApiModel):
        inner: Inner = Field(description="I.", json_schema_extra=validations(Rule("true", "must be")))

    inner = _fields(Outer)["inner"]
    assert isinstance(inner, dict)
    assert [rule["message"] for rule in inner["x-kubernetes-validations"]] == [
        "a must not be empty",
        "must be",
    ]


def test_a_list_that_is_a_map_keeps_its_keys() -> None:
    class Outer(ApiModel):
        inners: tuple[Inner, ...] = Field(
            default=(), max_length=3, description="I.", json_schema_extra=list_map("a")
        )

    inners = _fields(Outer)["inners"]
    assert isinstance(inners, dict)
    assert inners["x-kubernetes-list-type"] == "map"
    assert inners["x-kubernetes-list-map-keys"] == ["a"]
    assert inners["maxItems"] == 3
    assert "default" not in inners


def test_an_enumeration_keeps_its_values_and_default() -> None:
    class Outer(ApiModel):
        colour: Colour = Field(default=Colour.RED, description="C.")

    assert _fields(Outer)["colour"] == {
        "description": "C.",
        "type": "string",
        "enum": ["Red", "Blue"],
        "default": "Red",
    }


def test_empty_defaults_are_left_out_and_others_kept() -> None:
    class Outer(ApiModel):
        text: str = Field(default="", description="T.")
        number: int = Field(default=0, le=9, description="N.")
        flag: bool = Field(default=False, description="F.")
        nothing: str | None = Field(default=None, description="N.")

    found = {name: "default" in field for name, field in _fields(Outer).items() if isinstance(field, dict)}
    assert found == {"text": False, "number": True, "flag": True, "nothing": False}


def test_only_numbers_that_may_be_large_have_a_format() -> None:
    class Outer(ApiModel):
        small: int = Field(le=2**31 - 1, description="S.")
        large: int = Field(le=2**31, description="L.")
        open: int = Field(ge=0, description="O.")

    formats = {name: field.get("format") for name, field in _fields(Outer).items() if isinstance(field, dict)}
    assert formats == {"small": None, "large": "int64", "open": "int64"}


def test_a_time_is_a_string_with_a_format() -> None:
    class Outer(ApiModel):
        time: Time | None = Field(default=None, description="T.")

    assert _fields(Outer)["time"] == {"description": "T.", "type": "string", "format": "date-time"}


Lower = Annotated[str, patterned("^[a-z]+$", "must be lower-case letters", max_length=9)]


def test_a_form_is_explained_where_people_write_and_a_pattern_elsewhere() -> None:
    class Outer(ApiModel):
        name: Lower = Field(description="N.")

    assert _fields(Outer)["name"] == {
        "description": "N.",
        "type": "string",
        "maxLength": 9,
        "x-kubernetes-validations": [
            {"rule": "self.matches(r'^[a-z]+$')", "message": "must be lower-case letters"}
        ],
    }
    assert _fields(Outer, explained=False)["name"] == {
        "description": "N.",
        "type": "string",
        "maxLength": 9,
        "pattern": "^[a-z]+$",
    }


def test_the_keys_of_a_map_have_their_form_too() -> None:
    class Outer(ApiModel):
        labels: dict[Lower, Lower] = Field(default_factory=dict, description="L.")

    labels = _fields(Outer)["labels"]
    assert isinstance(labels, dict)
    assert labels["additionalProperties"]["maxLength"] == 9
    assert labels["x-kubernetes-validations"] == [
        {
            "rule": "self.all(key, key.size() <= 9 && key.matches(r'^[a-z]+$'))",
            "message": "every key must be lower-case letters",
        }
    ]


def test_a_computed_field_is_a_field_that_nobody_has_to_write() -> None:
    class Outer(ApiModel):
        @computed_field(description="Shown.")  # type: ignore[prop-decorator]
        @property
        def shown(self) -> str:
            return "x"

    assert _fields(Outer) == {"shown": {"description": "Shown.", "type": "string"}}
    assert "required" not in structural_schema(Outer, explained=True)


def test_what_a_structural_schema_cannot_say_is_an_error_that_names_the_field() -> None:
    class Outer(ApiModel):
        even: int = Field(multiple_of=2, description="E.")

    with pytest.raises(SchemaError, match=r"Outer\.even: no structural schema for multipleOf"):
        structural_schema(Outer, explained=True)


def test_alternatives_are_an_error() -> None:
    class Outer(ApiModel):
        either: int | str = Field(description="E.")

    with pytest.raises(SchemaError, match="no alternatives"):
        structural_schema(Outer, explained=True)


def test_lines_of_a_paragraph_are_joined() -> None:
    assert paragraphs("One\n    and on.\n\n    Two.") == "One and on.\n\nTwo."
