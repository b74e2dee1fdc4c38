"""docs/dependencies.md has a line for every direct dependency, and for nothing else."""

import re
import tomllib
from typing import cast

import pytest

from tests.unit.docs.pages import code_words, column, page, section

Requirements = dict[str, list[object]]


def project() -> dict[str, object]:
    return tomllib.loads(page("pyproject.toml"))


def names(requirements: list[object]) -> set[str]:
    """The packages' names; groups that are included are counted where they are declared."""
    return {
        re.split(r"[\[<>=!~;\s]", requirement)[0].lower()
        for requirement in requirements
        if isinstance(requirement, str)
    }


def declared() -> dict[str, set[str]]:
    """Direct dependencies by the section of the page that has to name them."""
    found = cast("dict[str, list[object]]", project()["project"])
    extras = cast("Requirements", found["optional-dependencies"])
    groups = cast("Requirements", project()["dependency-groups"])
    return {
        "Both programs": names(found["dependencies"]),
        "Operator": names(extras["operator"]),
        "Agent": names(extras["agent"]),
        "Model preparation": names(extras["model"]),
        "Command line": names(extras["cli"]),
        "Plots": names(extras["plots"]),
        "Development": {name for group in groups.values() for name in names(group)},
    }


@pytest.mark.parametrize(
    "heading",
    ["Both programs", "Operator", "Agent", "Model preparation", "Command line", "Plots", "Development"],
)
def test_each_section_names_just_the_direct_dependencies(heading: str) -> None:
    listed = column(section(page("docs/dependencies.md"), heading), 0)
    assert len(listed) == len(set(listed))
    assert {code_words(cell)[0] for cell in listed} == declared()[heading]


def test_every_line_says_why() -> None:
    text = page("docs/dependencies.md")
    for heading in declared():
        assert all(len(reason) > 3 for reason in column(section(text, heading), 1))


def test_no_extra_is_left_out() -> None:
    found = cast("dict[str, Requirements]", project()["project"])
    assert set(found["optional-dependencies"]) == {"operator", "agent", "model", "cli", "plots"}


def test_the_build_backend_is_named() -> None:
    build = cast("Requirements", project()["build-system"])
    assert names(build["requires"]) == {"hatchling"}
    assert "Build: `hatchling`." in page("docs/dependencies.md")
