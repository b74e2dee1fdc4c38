"""The guide to rollout situations, from the tests that show each of them.

A test carries `@situation(topic, when=…, then=…)`; each one is a row of `docs/guides/rollout-semantics.md`. The
files are read, not imported: the page needs nothing of what the tests need.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelab.generate.fields_table import table
from edgelab.paths import ROOT

SITUATIONS = Path("tests/unit/rollout/semantics")
"""The tests that carry situations."""

DECORATOR = "situation"

TOPICS: Mapping[str, str] = {
    "Edits during a rollout": "What of a changed spec counts at once, and what later. No edit moves a node to and fro.",
    "Revisions": "What happens to the canary and to the stable revision when the EdgeModel changes.",
    "Actions": "What a token does, in which state, and what the same token does twice.",
    "Rollback": "What comes back, and what is left where nothing can come back.",
    "Adoption": "A Rollout that is new, applied again or rebuilt from Git finds nodes that run the model already.",
    "Two Rollouts": "One model belongs to one Rollout; several models on one node are no conflict.",
    "Nodes": "Nodes join, leave, are replaced, change labels, go offline and come back.",
    "Fleets": "Small fleets, small strata, percentages that round to nothing, quorum.",
    "Failures": "What counts against the revision and what only against the node or the network.",
    "Windows": "Update windows and step deadlines.",
    "Clocks": "Clocks that differ or go back, and an operator that was away.",
    "The operator dies": "A process that ends between any two writes, and an upgrade of the operator.",
    "Explanations": "What the status, the conditions and the Events say meanwhile.",
}
"""Every topic, in the page's order, with the sentence below its heading."""

_INTRODUCTION = """# What a rollout does, situation by situation

<!-- Generated from tests/unit/rollout/semantics by `make generate`. Change the tests, not this page. -->

Every row was decided once and is shown by the test that it names. [Rollouts](rollouts.md) says how to use them;
[0012](../adr/0012-edits-and-returns.md), [0013](../adr/0013-adoption-and-rivals.md) and the decisions that they name
say why.

Four rules stand above all rows:

- A node never moves back and forth: within one attempt the canary only reaches further, and who takes it first does
  not change.
- Missing data, silence and doubt are never a pass, and never by themselves a bad model.
- An abort comes before everything else. A rejected revision stays rejected until `edgecanary.dev/retry`.
- What nodes run is taken away only when something better is described for them, or when it is rejected.
"""


@dataclass(frozen=True)
class Row:
    """One situation and the test that shows it."""

    topic: str
    when: str
    then: str
    file: Path
    test: str


def page(root: Path = ROOT) -> str:
    """The whole page. Raises ValueError naming the test whose decorator cannot be read."""
    rows = [row for file in sorted((root / SITUATIONS).glob("test_*.py")) for row in read_rows(file, root)]
    parts = [_INTRODUCTION]
    for topic, sentence in TOPICS.items():
        if found := [row for row in rows if row.topic == topic]:
            parts.append(f"## {topic}\n\n{sentence}\n\n{_table(found)}")
    return "\n".join(parts)


def read_rows(file: Path, root: Path) -> Iterator[Row]:
    """The situations of one file, in its order."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if _is_situation(decorator):
                    yield _row(decorator, node.name, file.relative_to(root))


def _is_situation(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == DECORATOR


def _row(decorator: ast.expr, test: str, file: Path) -> Row:
    if not isinstance(decorator, ast.Call) or len(decorator.args) != 1:
        raise ValueError(f"{file}: {test}: @{DECORATOR} takes a topic, when= and then=")
    texts = {word.arg: _text(word.value, f"{file}: {test}") for word in decorator.keywords}
    topic = _text(decorator.args[0], f"{file}: {test}")
    if topic not in TOPICS:
        raise ValueError(f"{file}: {test}: the topic {topic!r} is not one of {', '.join(TOPICS)}")
    if texts.keys() != {"when", "then"}:
        raise ValueError(
            f"{file}: {test}: @{DECORATOR} takes when= and then=, got {', '.join(map(str, texts))}"
        )
    return Row(topic, texts["when"], texts["then"], file, test)


def _text(value: ast.expr, where: str) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
        return value.value
    raise ValueError(f"{where}: the texts of @{DECORATOR} must be plain strings")


def _table(rows: Sequence[Row]) -> str:
    cells = [(row.when, row.then, f"[{row.test.removeprefix('test_')}](../../{row.file})") for row in rows]
    return table(("When", "What happens", "Test"), [tuple(cell) for cell in cells])
