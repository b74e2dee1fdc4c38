"""How many fault cases there are, of which kind, in which scenario: the page of the guides, from the code."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.unit.agent.faults.clocks import CLOCKS
from tests.unit.agent.faults.damage import DAMAGES
from tests.unit.agent.faults.layer import Kind, Operation
from tests.unit.agent.faults.scenarios import SCENARIOS

ROOT = Path(__file__).parents[4]
PAGE = Path("docs/guides/agent-faults.md")
_MEMORY = Path("/dev/shm")  # a place in memory, since the layer says what is durable

KINDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.KILL: ("update", "rollback", "return", "restart", "garbage", "upgrade", "withdraw", "forget"),
    Kind.POWER_CUT: ("install", "update", "return", "restart", "garbage", "withdraw"),
    Kind.TORN: ("install", "rollback"),
    Kind.BROKEN: ("rollback", "return", "restart", "garbage", "withdraw", "forget"),
    Kind.NO_SPACE: ("update", "return", "upgrade", "withdraw"),
    Kind.SHORT: ("update",),
    Kind.SHORT_THEN_FULL: ("rollback",),
    Kind.FULL: ("update", "return"),
    Kind.READ_ONLY: ("return", "restart", "withdraw"),
}
"""In which scenarios a kind of fault is tried at every operation that it can happen to."""


class Cases:
    """The process that plays the cases."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def trace(self, scenario: str) -> list[Operation]:
        """The operations of a scenario when nothing breaks."""
        return [
            Operation(str(fields["name"]), str(fields["path"]), bool(fields["torn"]))
            for fields in self._ask(scenario)
        ]

    def play(self, scenario: str, kind: Kind) -> dict[str, str]:
        """What was wrong in each case of the kind, by the operation; nothing where all was well."""
        return {
            f"{case['number']} {case['name']} {case['path']}": str(case["wrong"])
            for case in self._ask(f"{scenario} {kind.name}")
        }

    def _ask(self, request: str) -> list[dict[str, object]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process of the cases has died"
        answer: list[dict[str, object]] = json.loads(line)
        return answer


@contextmanager
def cases() -> Iterator[Cases]:
    """Starts the process that plays cases, with a folder for it."""
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "operator", ROOT / "hack"))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.unit.agent.faults.cases"]
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        subprocess.Popen(
            [*command, folder],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            yield Cases(process)
        finally:
            process.kill()


def counts() -> dict[tuple[Kind, str], int]:
    """Cases by kind and scenario."""
    with cases() as found:
        traces = {name: found.trace(name) for name in SCENARIOS}
    return {
        (kind, name): sum(operation.takes(kind) for operation in traces[name])
        for kind, names in KINDS.items()
        for name in names
    }


def total(found: Mapping[tuple[Kind, str], int]) -> int:
    """All cases, with those that are no operation's."""
    return sum(found.values()) + len(DAMAGES) + len(CLOCKS)


def generated() -> dict[Path, str]:
    """The page as it must be."""
    return {PAGE: page(counts())}


def page(found: Mapping[tuple[Kind, str], int]) -> str:
    """The table in Markdown."""
    names = list(SCENARIOS)
    rows = [f"| Fault | {' | '.join(names)} | all |", "| --- |" + " --- |" * (len(names) + 1)]
    for kind in KINDS:
        cells = [found.get((kind, name), 0) for name in names]
        rows.append(f"| {kind} | {' | '.join(str(cell or '') for cell in cells)} | {sum(cells)} |")
    lines = [f"| `{name}` | {scenario.title} |" for name, scenario in SCENARIOS.items()]
    return _TEXT.format(
        total=total(found),
        table="\n".join(rows),
        scenarios="\n".join(["| Scenario | The agent is in the middle of |", "| --- | --- |", *lines]),
        damages=len(DAMAGES),
        clocks=len(CLOCKS),
    )


_TEXT = """\
# Faults that the agent's durable half is tried with

<!-- Written by `make generate` from tests/unit/agent/faults; do not edit. -->

{total} cases, all run by `make test TESTS=tests/unit/agent/faults`. What holds in each, and how the faults are made:
[0018](../adr/0018-faults-at-the-file-system.md). What the agent does about them: [agent.md](agent.md).

## Faults at a file operation

A case is one fault at one operation: before each operation that a scenario does below the data directory, and that
the fault can happen to.

{table}

{scenarios}

After SIGKILL and after a power cut a new process starts on what is left. It must find a record that is whole, go on in
the state of the table, serve the active revision before it hears anything, and come to the end of the scenario, with
nothing left over. After the others the same process goes on: it must not stop serving, say `DiskFailed` where the fault
stays, and come to the same end.

## Others

| Fault | Cases |
| --- | --- |
| a record that is empty, cut off, changed, missing or of another version, with and without a good copy | {damages} |
| a clock an hour or a year ahead or behind, from the start or from one moment of an update on | {clocks} |
"""
