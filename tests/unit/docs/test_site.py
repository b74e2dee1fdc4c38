"""The site has a place for every page, and the index of reasons knows them all."""

import re

import yaml

from edgelab.generate import reasons
from edgelab.paths import ROOT
from tests.unit.docs.pages import page

_ADDED = re.compile(r"!!python/name:\S+")


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load(_ADDED.sub("''", page("mkdocs.yml")))
    named = set(re.findall(r"[\w/-]+\.md", str(settings["nav"])))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    listed_by_hook = {name for name in there if name.startswith("adr/")}
    assert there - listed_by_hook == named


def test_the_index_of_reasons_has_those_of_every_guide() -> None:
    index = reasons.page()
    for reason in (
        "Promoted",
        "RolledBack",
        "SequenceTooLow",
        "ExposureTooLow",
        "TooHot",
        "RuntimeHung",
        "Kept",
    ):
        assert f"| `{reason}` |" in index
    assert "](rollouts.md" not in index
