"""What the README and the other pages promise exists: manifests, make targets."""

import re

import pytest
from pydantic import JsonValue

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.rollout import Rollout
from tests.unit.docs.pages import blocks, code_words, manifests, page, pages

KINDS: dict[str, type[ApiModel]] = {"EdgeModel": EdgeModel, "Rollout": Rollout}


def kept(manifest: JsonObject) -> JsonObject:
    return KINDS[str(manifest["kind"])].model_validate(manifest).to_json()


def dropped(given: JsonValue, after: JsonValue, path: str = "") -> list[str]:
    """The paths of what was given and is no longer there."""
    if isinstance(given, dict) and isinstance(after, dict):
        missing = [f"{path}.{key}" for key in given if key not in after]
        return missing + [
            lost for key in given.keys() & after for lost in dropped(given[key], after[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(after, list):
        pairs = enumerate(zip(given, after, strict=True))
        return [lost for index, (a, b) in pairs for lost in dropped(a, b, f"{path}[{index}]")]
    return [] if given == after else [path]


def test_the_readme_shows_both_manifests() -> None:
    assert [manifest["kind"] for manifest in manifests("README.md")] == ["EdgeModel", "Rollout"]


@pytest.mark.parametrize("path", ["README.md", "docs/guides/models.md"])
def test_the_manifests_in_the_documentation_have_only_fields_that_exist(path: str) -> None:
    for manifest in manifests(path):
        assert dropped(manifest, kept(manifest)) == []


def test_a_field_that_does_not_exist_would_be_noticed() -> None:
    model, _ = manifests("README.md")
    spec = model["spec"]
    assert isinstance(spec, dict)
    assert dropped({**model, "spec": {**spec, "vesion": "1"}}, kept(model)) == [".spec.vesion"]


def test_the_example_of_the_readme_fits_on_a_screen() -> None:
    (example,) = blocks(page("README.md"), "yaml")
    assert len(example.splitlines()) <= 25


@pytest.mark.parametrize("path", list(pages()))
def test_every_make_target_in_the_documentation_exists(path: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
    commands = [*code_words(page(path)), *blocks(page(path), "sh")]
    named = {
        word
        for command in commands
        for line in re.findall(r"^make ([^#\n]+)", command, re.MULTILINE)
        for word in line.split('"')[0].split()
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert named <= targets


def test_the_readme_names_the_two_commands() -> None:
    assert "make demo\nmake test\n" in blocks(page("README.md"), "sh")
