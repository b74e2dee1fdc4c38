"""Finds what the documentation names and the checkout lacks: files, anchors, paths in backticks.

Every Markdown file is read. Checked are relative links, links to a heading, and words in backticks
that look like a path of this repository. Addresses on the web are not asked for.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]

HOUSE = frozenset(
    {".ci", "benchmarks", "charts", "config", "crds", "docs", "examples", "hack", "operator", "tests"}
)
"""The folders whose contents the documentation names by path, also when one is missing as a whole."""

_BUILT = frozenset({"dist", "node_modules"})

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)>?")
_CODE = re.compile(r"(`+)(.+?)\1")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_PATH = re.compile(r"^(?:\./)?[\w.@*-]+(?:/[\w.@*-]+)*/?$")


@dataclass(frozen=True)
class Problem:
    """Something that is named and does not exist."""

    document: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.message}"


def main() -> int:
    """Print every problem; the exit code is 1 when there is one."""
    found = [problem for document in documents(ROOT) for problem in problems(ROOT, document)]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


def documents(root: Path) -> list[Path]:
    """The Markdown files, but for those in hidden folders and in folders of built things."""
    found = []
    for path in sorted(root.rglob("*.md")):
        folders = path.relative_to(root).parts[:-1]
        if not any(folder.startswith(".") or folder in _BUILT for folder in folders):
            found.append(path)
    return found


def problems(root: Path, document: Path) -> Iterator[Problem]:
    """What one document names and `root` lacks, in the order of its lines."""
    name = document.relative_to(root).as_posix()
    for number, line in prose(document.read_text()):
        text = _CODE.sub("", line)
        for match in (*_LINK.finditer(text), *_REFERENCE.finditer(text)):
            if message := dead_link(root, document, match[1]):
                yield Problem(name, number, message)
        for match in _CODE.finditer(line):
            if message := missing_path(root, document, match[2].strip()):
                yield Problem(name, number, message)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a document that are not in a fenced block of code."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
        elif mark:
            fence = mark[1]
        else:
            yield number, line


def dead_link(root: Path, document: Path, target: str) -> str | None:
    """Why a link leads nowhere, None when it leads somewhere or to the web."""
    address = urlsplit(target)
    if address.scheme or address.netloc:
        return None
    path = unquote(address.path)
    file = (
        document
        if not path
        else (root / path.lstrip("/") if path.startswith("/") else document.parent / path)
    )
    if not file.exists():
        return f"the link {target} leads to no file"
    if (
        address.fragment
        and file.suffix == ".md"
        and unquote(address.fragment) not in anchors(file.read_text())
    ):
        return f"the link {target} leads to no heading"
    return None


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them, and those written as HTML."""
    found: set[str] = set()
    for _, line in prose(text):
        found.update(_ANCHOR.findall(line))
        if heading := _HEADING.match(line):
            found.add(_unused(slug(heading[1]), found))
    return found


def slug(heading: str) -> str:
    """The anchor of a heading: lower case, no punctuation, hyphens for spaces."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def missing_path(root: Path, document: Path, words: str) -> str | None:
    """Why words in backticks name a path that does not exist, None when they do or are no path."""
    words = re.sub(r"(:\d+)?$", "", words)
    if not _PATH.match(words) or not _is_ours(words):
        return None
    for folder in (root, document.parent):
        if any(folder.glob(words.rstrip("/"))):
            return None
    return f"`{words}` names no file of this repository"


def _is_ours(words: str) -> bool:
    """Whether a path-like word means a file of this repository: one in its folders, or a .md file."""
    parts = PurePosixPath(words).parts
    if len(parts) > 1 or words.endswith("/"):
        return parts[0] in HOUSE
    return words.endswith(".md") and "*" not in words


def _unused(anchor: str, taken: set[str]) -> str:
    if anchor not in taken:
        return anchor
    number = 1
    while f"{anchor}-{number}" in taken:
        number += 1
    return f"{anchor}-{number}"


if __name__ == "__main__":
    sys.exit(main())
