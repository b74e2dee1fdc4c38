"""The check of the documentation finds dead links, anchors and paths, and nothing else."""

from pathlib import Path

import pytest

import check_links


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a document to link to."""
    (tmp_path / "docs" / "adr").mkdir(parents=True)
    (tmp_path / "docs" / "guide.md").write_text(
        "# The *guide*, part 1\n\n## Set-up\n\n## Set-up\n\n```sh\n# no heading\n```\n\n"
        '<a id="own"></a>\n\n### `make test` & [more](x)\n'
    )
    (tmp_path / "docs" / "adr" / "0001-first.md").write_text("# First\n")
    (tmp_path / "hack").mkdir()
    (tmp_path / "hack" / "lab.py").touch()
    return tmp_path


def messages(root: Path, text: str, place: str = "README.md") -> list[str]:
    document = root / place
    document.write_text(text)
    return [str(problem) for problem in check_links.problems(root, document)]


@pytest.mark.parametrize(
    "text",
    [
        "[guide](docs/guide.md)",
        "[guide](/docs/guide.md#set-up)",
        "[again](docs/guide.md#set-up-1)",
        "[title](docs/guide.md#the-guide-part-1)",
        "[own](docs/guide.md#own)",
        "[code](docs/guide.md#make-test--more)",
        '[titled](docs/guide.md "the guide")',
        "[folder](docs/adr/)",
        "# Here\n\n[here](#here)",
        "[web](https://example.com/missing.md#x) and <mailto:a@example.com>",
        "[reference]\n\n[reference]: docs/guide.md",
        "`hack/lab.py`, `hack/lab.py:12`, `docs/adr/`, `docs/*.md`, `./hack/lab.py`",
        "`v2/models`, `store/<digest>`, `a/b/c`, `make test`, `docs/<name>.md`, `metadata.name`",
        "```\n[dead](docs/missing.md) `hack/missing.py`\n```",
        "~~~~\n```\n[dead](docs/missing.md)\n~~~~",
        "`[not a link](docs/missing.md)`",
    ],
)
def test_what_exists_or_is_no_path_is_accepted(root: Path, text: str) -> None:
    assert messages(root, text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x](docs/missing.md)", "README.md:1: the link docs/missing.md leads to no file"),
        ("\n[x](/missing.md)", "README.md:2: the link /missing.md leads to no file"),
        ("![x](docs/missing.png)", "README.md:1: the link docs/missing.png leads to no file"),
        ("[x]: missing.md", "README.md:1: the link missing.md leads to no file"),
        ("[x](docs/guide.md#nowhere)", "README.md:1: the link docs/guide.md#nowhere leads to no heading"),
        (
            "[x](docs/guide.md#no-heading)",
            "README.md:1: the link docs/guide.md#no-heading leads to no heading",
        ),
        ("[x](docs/guide.md#set-up-2)", "README.md:1: the link docs/guide.md#set-up-2 leads to no heading"),
        ("[x](#nowhere)", "README.md:1: the link #nowhere leads to no heading"),
        ("`hack/missing.py`", "README.md:1: `hack/missing.py` names no file of this repository"),
        ("`hack/missing.py:7`", "README.md:1: `hack/missing.py` names no file of this repository"),
        ("`charts/edgecanary/`", "README.md:1: `charts/edgecanary/` names no file of this repository"),
        ("`docs/*.toml`", "README.md:1: `docs/*.toml` names no file of this repository"),
        ("`MISSING.md`", "README.md:1: `MISSING.md` names no file of this repository"),
        ("```\ncode\n```\n[x](gone.md)", "README.md:4: the link gone.md leads to no file"),
    ],
)
def test_what_is_missing_is_reported_with_its_line(root: Path, text: str, message: str) -> None:
    assert messages(root, text) == [message]


def test_links_are_relative_to_their_document(root: Path) -> None:
    assert messages(root, "[x](guide.md) [y](adr/0001-first.md) `guide.md`", "docs/index.md") == []
    assert messages(root, "[x](docs/guide.md)", "docs/index.md") != []


def test_documents_of_installed_packages_are_left_alone(root: Path) -> None:
    (root / ".venv" / "pkg").mkdir(parents=True)
    (root / ".venv" / "pkg" / "README.md").write_text("[x](gone.md)")
    names = [document.relative_to(root).as_posix() for document in check_links.documents(root)]
    assert names == ["docs/adr/0001-first.md", "docs/guide.md"]


def test_every_problem_of_a_line_is_reported(root: Path) -> None:
    assert len(messages(root, "[a](a.md) [b](b.md) `hack/c`")) == 3
