"""values.yaml, its schema, its reference and the programs' flags say the same."""

import argparse
import json
import re
from collections.abc import Callable, Iterator

import pytest
import yaml

from edgecanary import __version__
from edgecanary.api.fields import JsonObject
from edgecanary.cli import agent, operator
from edgecanary.cli.flags import Flags, variable
from edgelab.generate.values_table import comments
from edgelab.helm import CHART
from tests.unit.docs.pages import column, page

SCHEMA: JsonObject = json.loads((CHART / "values.schema.json").read_text())
TEXT = (CHART / "values.yaml").read_text()
DEFAULTS: JsonObject = yaml.safe_load(TEXT)
PROFILES: dict[str, JsonObject] = yaml.safe_load((CHART / "files" / "profiles.yaml").read_text())

# Set by the chart itself, from values of their own.
OPERATOR_OWN = {
    "kubeconfig",  # the pod's account
    "leaderElect",
    "leaderElectionNamespace",
    "metricsAddress",
    "namespace",
    "notifySecretFile",
    "notifyUrl",
    "systemNamespace",  # the pod's own
    "tenancyFile",
}
AGENT_OWN = {
    "caFile",
    "dataDir",
    "kubeconfig",
    "listen",
    "metricsAddress",
    "node",
    "server",
    "systemNamespace",
    "tokenFile",
    "trustRoot",
    "tenancyFile",
}


def objects(node: object, path: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Every schema in the document."""
    if isinstance(node, list):
        for number, child in enumerate(node):
            yield from objects(child, f"{path}/{number}")
    if isinstance(node, dict):
        yield path, node
        for name, child in node.items():
            yield from objects(child, f"{path}/{name}")


def resolved(node: JsonObject) -> JsonObject:
    ref = node.get("$ref")
    return SCHEMA["$defs"][str(ref).rpartition("/")[2]] if ref else node  # type: ignore[index,call-overload,return-value]


def leaves(node: JsonObject, value: object, path: str = "") -> Iterator[str]:
    """The paths that a comment has to explain: values that are not groups of values.

    A type with a title is one value, whatever is in it; the document's own title is none.
    """
    found = resolved(node)
    properties = found.get("properties")
    if (path and "title" in found) or not isinstance(properties, dict) or not isinstance(value, dict):
        yield path
        return
    for name, child in properties.items():
        if name != "global":
            assert isinstance(child, dict)
            yield from leaves(child, value[name], f"{path}.{name}".lstrip("."))


def camel(flag: str) -> str:
    head, *rest = flag.split("_")
    return head + "".join(word.capitalize() for word in rest)


def flags_of(add: Callable[[Flags], None]) -> set[str]:
    parser = argparse.ArgumentParser()
    add(Flags(parser, environ={}))
    return {camel(name) for name in vars(parser.parse_args([])) if name != "action"}


def operator_flags() -> set[str]:
    subparsers = argparse.ArgumentParser().add_subparsers()
    operator.add_parser(subparsers)
    return {camel(name) for name in vars(subparsers.choices["operator"].parse_args([]))}


def settings(name: str) -> set[str]:
    return set(SCHEMA["$defs"][name]["properties"])  # type: ignore[index,call-overload,arg-type]


def test_the_settings_of_the_operator_are_its_flags_but_for_those_with_values_of_their_own() -> None:
    assert settings("operatorSettings") == operator_flags() - OPERATOR_OWN


def test_the_settings_of_the_agent_are_its_flags_but_for_those_with_values_of_their_own() -> None:
    assert settings("agentSettings") == flags_of(agent.add_flags) - AGENT_OWN


def test_a_setting_in_camel_case_becomes_the_flags_variable() -> None:
    """The chart's rule, spelt in Python: a word begins at each capital."""
    for flag in (*settings("operatorSettings"), *settings("agentSettings")):
        words = re.sub(r"([A-Z])", r"-\1", flag).lower()
        assert variable(f"--{words}") == "EDGECANARY_" + words.replace("-", "_").upper()


def test_every_value_is_explained_once_and_nothing_else_is() -> None:
    explained = [path for path, _ in comments(TEXT)]
    assert sorted(explained) == sorted(set(explained))
    assert set(explained) == set(leaves(SCHEMA, DEFAULTS))


def test_every_value_is_in_the_reference() -> None:
    listed = {cell.strip("`") for cell in column(page("docs/reference/values.md"), 0)}
    assert {path for path, _ in comments(TEXT)} <= listed


# What is passed on to the pod as it is: the API server checks it.
FREE = re.compile(r"/(global|valueFrom|matchExpressions/items|nodeAffinity|podAffinity|podAntiAffinity)$")
FREE_ITEMS = {"/$defs/volumes/items", "/properties/operator/properties/topologySpreadConstraints/items"}


def test_a_value_that_the_schema_does_not_know_is_refused_everywhere() -> None:
    open_ones = [
        path
        for path, node in objects(SCHEMA)
        if "object" in str(node.get("type", "")) and "additionalProperties" not in node
    ]
    assert [path for path in open_ones if not FREE.search(path) and path not in FREE_ITEMS] == []


def _kinds(node: JsonObject) -> list[object]:
    kinds = node.get("type")
    return [*kinds] if isinstance(kinds, list) else [kinds]


def test_every_text_list_and_number_has_a_bound() -> None:
    bounds = {"string": "maxLength", "array": "maxItems", "integer": "maximum", "number": "maximum"}
    loose = [
        f"{path}: {kind}"
        for path, node in objects(SCHEMA)
        for kind, bound in bounds.items()
        if kind in _kinds(node) and not {bound, "pattern"} & set(node)
    ]
    assert loose == []


def test_the_chart_has_the_programs_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_decides_only_what_the_values_leave_open(name: str) -> None:
    agent_values = DEFAULTS["agent"]
    assert isinstance(agent_values, dict)
    left_open = {key for key, value in agent_values.items() if value is None}
    assert set(PROFILES[name]) == left_open


def test_the_profiles_are_those_that_the_schema_takes() -> None:
    assert list(PROFILES) == SCHEMA["properties"]["agent"]["properties"]["profile"]["enum"]  # type: ignore[index,call-overload]
