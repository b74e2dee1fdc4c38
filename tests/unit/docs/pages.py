"""Reading the documentation: fenced blocks, tables, words in backticks, whole manifests."""

import re
from collections.abc import Iterator

import yaml

from edgecanary.api.fields import JsonObject
from edgelab.paths import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")


def page(path: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / path).read_text()


def pages() -> Iterator[str]:
    """The paths of all hand-written pages."""
    for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "docs/guides/*.md", "examples/**/*.md"):
        yield from (path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob(pattern)))


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in one language."""
    return [body for found, body in _BLOCK.findall(text) if found == language]


def section(text: str, heading: str) -> str:
    """What stands between a heading of the second level and the next one."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading]


def column(text: str, number: int) -> list[str]:
    """The cells of one column of all tables in a text, heads and rules left out."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    bodies = [row for row, following in zip(rows, [*rows[1:], [""]], strict=True) if not _is_rule(following)]
    return [row[number].strip() for row in bodies if not _is_rule(row)]


def code_words(text: str) -> list[str]:
    """The words in backticks."""
    return _CODE.findall(text)


def manifests(path: str) -> list[JsonObject]:
    """The whole manifests in a page's YAML blocks."""
    found = [
        document
        for block in blocks(page(path), "yaml")
        for document in yaml.safe_load_all(block)
        if isinstance(document, dict) and "kind" in document
    ]
    assert found, f"{path} has no manifest"
    return found


def _is_rule(row: list[str]) -> bool:
    return all(set(cell.strip()) <= set("-:") for cell in row) and any(cell.strip() for cell in row)
