"""The generated files: current, always the same, and checked by a command."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import JsonValue

from edgecanary.api.fields import PATTERN_MESSAGE_KEY, RULES_KEY, JsonObject
from edgelab.generate import crd, files
from edgelab.generate.kinds import KINDS, Kind
from edgelab.generate.structural import as_list, as_object
from edgelab.paths import ROOT
from tests.kube.crd_cases.objects import get

_PRINT_ALL = "from edgelab.generate import generated_files; print(*generated_files().values())"


Files = dict[Path, str]


@pytest.fixture(scope="module")
def wanted() -> Files:
    return files.generated_files()


def test_the_files_in_the_checkout_are_current(wanted: Files) -> None:
    assert files.differences(wanted, ROOT) == ""


def test_the_files_do_not_depend_on_the_order_of_sets() -> None:
    printed = {_generated_with(hash_seed) for hash_seed in ("1", "2", "3")}
    assert len(printed) == 1


def _generated_with(hash_seed: str) -> str:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT / 'hack'}:{ROOT / 'operator'}"}
    command = [sys.executable, "-c", _PRINT_ALL]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_writing_makes_every_file_once(wanted: Files, tmp_path: Path) -> None:
    assert files.write(wanted, tmp_path) == sorted(wanted)
    assert files.write(wanted, tmp_path) == []
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == set(wanted)


def test_a_definition_of_a_kind_that_is_gone_is_deleted(wanted: Files, tmp_path: Path) -> None:
    files.write(wanted, tmp_path)
    stale = tmp_path / files.CRD_FOLDER / "edgecanary.dev_oldkinds.yaml"
    stale.write_text("kind: OldKind\n")
    assert "-kind: OldKind" in files.differences(wanted, tmp_path)
    assert files.write(wanted, tmp_path) == [stale.relative_to(tmp_path)]
    assert not stale.exists()


def test_the_check_passes_when_all_is_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.main([], tmp_path) == 0
    assert "written: crds/edgecanary.dev_rollouts.yaml" in capsys.readouterr().out
    assert files.main(["--check"], tmp_path) == 0
    assert capsys.readouterr() == ("", "")


def test_the_check_fails_with_a_diff_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files.main([], tmp_path)
    edited = tmp_path / "crds/edgecanary.dev_rollouts.yaml"
    edited.write_text(edited.read_text().replace("maximum: 100\n", "maximum: 200\n", 1))
    before = edited.read_text()
    capsys.readouterr()
    assert files.main(["--check"], tmp_path) == 1
    printed = capsys.readouterr()
    assert "-                            maximum: 200" in printed.out
    assert "+                            maximum: 100" in printed.out
    assert "run `make generate`" in printed.err
    assert edited.read_text() == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_yaml_says_what_the_definition_says(kind: Kind) -> None:
    assert yaml.safe_load(crd.to_yaml(kind)) == crd.definition(kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_schema_is_structural(kind: Kind) -> None:
    assert _not_structural(crd.schema(kind), kind.name) == []


def _not_structural(schema: JsonObject, at: str) -> list[str]:
    """Where a schema has what the API server does not take, or lacks what it needs."""
    foreign = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const", "readOnly", PATTERN_MESSAGE_KEY}
    found = [f"{at} has {key}" for key in foreign & schema.keys()]
    found += [] if "type" in schema else [f"{at} has no type"]
    found += [f"{at} has an empty default"] if schema.get("default", 0) in (None, "", []) else []
    for name, child in as_object(schema.get("properties", {})).items():
        found += _not_structural(as_object(child), f"{at}.{name}")
    for key in ("items", "additionalProperties"):
        found += _not_structural(as_object(schema[key]), f"{at}.{key}") if key in schema else []
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_rule_says_what_must_be(kind: Kind) -> None:
    for message in _messages(crd.schema(kind)):
        assert "must" in message
        assert not message.endswith(".")


def _messages(schema: JsonValue) -> list[str]:
    if isinstance(schema, list):
        return [message for item in schema for message in _messages(item)]
    if not isinstance(schema, dict):
        return []
    own = [str(as_object(rule)["message"]) for rule in as_list(schema.get(RULES_KEY, []))]
    return own + [message for child in schema.values() for message in _messages(child)]


def test_only_the_kinds_with_a_status_have_its_subresource() -> None:
    assert {
        kind.name
        for kind in KINDS
        if "subresources" in as_object(get(crd.definition(kind), "spec.versions[0]"))
    } == {
        "EdgeModel",
        "Rollout",
        "EdgeNode",
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_suits_kubeedge(kind: Kind) -> None:
    """Its local server guesses plurals and treats paths with "status" as a subresource."""
    assert kind.plural == f"{kind.singular}s"
    assert "status" not in kind.singular
    assert get(crd.definition(kind), "spec.scope") == "Namespaced"


def test_short_names_are_those_of_the_documents() -> None:
    assert {kind.short_name for kind in KINDS} == {"em", "mro", "mrel", "en"}
