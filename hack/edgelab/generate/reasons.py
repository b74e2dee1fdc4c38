"""The index of all machine reasons, from the tables of the guides that explain them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgelab.paths import ROOT

_GUIDES = ("rollouts", "models", "gates", "nodes", "signing")
_CODE = re.compile(r"`([A-Z][A-Za-z0-9]+)`")
_MEANINGS = ("Meaning", "When", "What it means", "Message, for example")


@dataclass(frozen=True)
class _Row:
    """One line of a table: its cells by their headings, and the section that it is in."""

    cells: dict[str, str]
    section: str


@dataclass(frozen=True)
class _Entry:
    """One reason in one place."""

    reason: str
    meaning: str
    ends: str
    place: str

    def __str__(self) -> str:
        return f"| `{self.reason}` | {self.meaning} | {self.ends} | {self.place} |"


def page() -> str:
    """The page in Markdown."""
    found = {entry for guide in _GUIDES for entry in _entries(guide)}
    ordered = sorted(found, key=lambda entry: (entry.reason.lower(), entry.place, str(entry)))
    heads = "| Reason | Meaning | What ends it | Explained under |"
    return _TEXT + "\n".join([heads, "| --- | --- | --- | --- |", *map(str, ordered)]) + "\n"


def _entries(guide: str) -> Iterator[_Entry]:
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text()
    title = text.partition("\n")[0].removeprefix("# ")
    for row in _rows(text):
        reasons = row.cells.get("Reason") or row.cells.get("Reasons") or ""
        explained = reasons.partition("`: ")[2]
        meanings = [explained, *(row.cells.get(head, "") for head in _MEANINGS)]
        anchor = re.sub(r"[^\w\- ]", "", row.section.lower()).replace(" ", "-")
        place = f"[{title}: {row.section}](../guides/{guide}.md#{anchor})"
        for reason in _CODE.findall(reasons):
            meaning = next((found for found in meanings if found), "")
            yield _Entry(reason, _moved(meaning), _moved(row.cells.get("What ends it", "")), place)


def _moved(text: str) -> str:
    """The text with links as this page needs them."""
    return re.sub(r"\]\((\w[\w-]*\.md)", r"](../guides/\1", text)


def _rows(text: str) -> Iterator[_Row]:
    section: str = ""
    heads: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not heads:
            heads = cells
        elif not set(line) <= set("|-: "):
            yield _Row(dict(zip(heads, cells, strict=False)), section)


_TEXT = """\
# Reasons and events

<!-- Written by `make generate` from the tables of the guides; do not edit. -->

Every condition, verdict, report of a node and Event carries one of these. The message beside it names the value, the
limit and what to do. Events of a Rollout and an EdgeModel have the reason of the Ready condition that they tell of.

"""
