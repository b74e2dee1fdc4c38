"""The API reference in Markdown."""

import re

import pytest

from edgelab.generate import reference
from edgelab.generate.enums import value_meanings
from edgelab.generate.kinds import KINDS, Kind
from edgelab.generate.structural import as_object, definitions_of, json_schema

_PAGE = reference.page(KINDS)


def _section(title: str) -> str:
    _, found = _PAGE.split(f"# {title}\n", 1)
    return re.split(r"^#+ ", found, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_link_leads_to_a_section() -> None:
    titles = re.findall(r"^#+ (.+)$", _PAGE, flags=re.MULTILINE)
    anchors = [title.lower().replace(" ", "-") for title in titles]
    assert sorted(set(anchors)) == sorted(anchors), "titles must be unique"
    assert set(re.findall(r"\]\(#([^)]*)\)", _PAGE)) <= set(anchors)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_of_every_type_is_described(kind: Kind) -> None:
    for name, schema in definitions_of(json_schema(kind.model)).items():
        if name in ("ObjectMeta", "OwnerReference"):
            continue
        title = re.sub(r"(?<=[a-z])(Spec|Status)$", lambda part: f" {part[1].lower()}", name)
        section = _section(title if f"# {title}\n" in _PAGE else name) if "properties" in schema else ""
        for field in as_object(schema.get("properties", {})):
            assert re.search(rf"^\| `{field}` \|.*\| [^|]+\. \|$", section, flags=re.MULTILINE), (name, field)


def test_a_field_has_type_default_bounds_and_description() -> None:
    row = "| `percent` | integer |  | 1 to 100 | Share of the eligible nodes that take the canary,"
    assert row in _section("Step")
    assert "| `bakeSeconds` | integer | `300` | 0 to 2592000 |" in _section("Step")
    assert "| `approval` | `Automatic`, `Manual` | `Automatic` |  |" in _section("Step")
    assert "| `steps` | list of [Step](#step) | required | 1 to 20 items, unique by `name` |" in _section(
        "Strategy"
    )
    assert "| `revision` | string | required | 64 lower-case hexadecimal digits (SHA-256) |" in _section(
        "RevisionReference"
    )


def test_rules_are_listed_below_the_fields_they_are_about() -> None:
    strategy = _section("Strategy")
    assert "- `steps`: percent must increase from step to step\n" in strategy
    assert "- `detectRatio` must be above 1\n" in _section("Comparison")
    assert "- exactly one of percent and nodes must be set\n" in _section("Step")


def test_a_type_names_the_types_that_have_it() -> None:
    assert "In: [Strategy](#strategy).\n" in _section("Step")
    assert "[Rollout spec](#rollout-spec)" in _section("UpdateWindow")


def test_the_values_of_an_enumeration_are_explained_where_they_need_it() -> None:
    assert (
        value_meanings("ModelState")["Active"] == "The desired revision passed its health soak and is active."
    )
    assert "| `Active` | The desired revision passed its health soak and is active. |" in _section(
        "ModelState"
    )
    assert "| `state` | [ModelState](#modelstate) |" in _section("NodeModelStatus")
    assert value_meanings("Decided") == {}
    assert value_meanings("NoSuchType") == {}


@pytest.mark.parametrize("name", ["ModelState", "ModelResult", "HistoryOutcome"])
def test_an_enumeration_is_explained_in_full_or_not_at_all(name: str) -> None:
    rows = re.findall(r"^\| `\w+` \| (.*) \|$", _section(name), flags=re.MULTILINE)
    assert rows
    assert "" not in rows


def test_the_actions_of_a_rollout_are_described() -> None:
    actions = _section("Rollout actions")
    assert re.findall(r"`edgecanary.dev/(\w+)`", actions) == ["promote", "abort", "retry"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_an_example_and_its_columns(kind: Kind) -> None:
    assert f"```yaml\n{reference.example(kind)}```" in _PAGE
    assert [column.name for column in kind.columns] == re.findall(
        r"^\| (\w+) \| (?:always|`-o wide`) \|", _section(f"{kind.name} columns"), flags=re.MULTILINE
    )


def test_a_pipe_in_a_cell_does_not_break_the_table() -> None:
    rows = [line for line in _PAGE.splitlines() if line.startswith("| `")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 4, 5, 6}
