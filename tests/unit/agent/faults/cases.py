"""Runs fault cases, each in a process of its own that is forked from a small one.

Usage: python -m tests.unit.agent.faults.cases FOLDER, then one request a line: the name of a scenario, and the
name of a kind of fault for its cases or nothing for its operations. One line of JSON answers.
"""

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from edgecanary.agent import steps
from edgecanary.agent.machine import State, next_state
from edgecanary.agent.record import DISK_FAILED, Record
from edgecanary.agent.restart import found_at_start
from edgecanary.agent.store import Store
from edgecanary.base.errors import EdgecanaryError
from tests.unit.agent.faults.layer import DEADLY, Kind, Layer, Operation
from tests.unit.agent.faults.play import Play, play, promises
from tests.unit.agent.faults.scenarios import SCENARIOS, Scenario, copy_directory
from tests.unit.agent.releasing import KEY


class Bench:
    """A folder in which cases are played, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._traces: dict[str, list[Operation]] = {}

    def trace(self, scenario: Scenario) -> list[Operation]:
        """The operations of the scenario when nothing breaks."""
        if scenario.name not in self._traces:
            told = self._folder / "trace.json"

            def run() -> None:
                layer = Layer(self._data)
                asyncio.run(_story(self._data, scenario, layer))
                told.write_text(json.dumps([asdict(operation) for operation in layer.trace]))

            self._begin(scenario)
            status, words = self._child(run)
            assert status == 0, words
            found = [Operation(**fields) for fields in json.loads(told.read_text())]
            self._traces[scenario.name] = found
        return self._traces[scenario.name]

    def cases(self, scenario: Scenario, kind: Kind) -> Iterator[tuple[int, Operation, str]]:
        """Plays the scenario with the fault at each operation; says what was wrong, or nothing."""
        for number, operation in enumerate(self.trace(scenario), start=1):
            if not operation.takes(kind):
                continue
            self._begin(scenario)
            play_case = self._deadly if kind in DEADLY else self._lived_through
            yield number, operation, play_case(scenario, kind, number)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _begin(self, scenario: Scenario) -> None:
        base = self._folder / scenario.name
        if not base.exists():
            status, words = self._child(lambda: asyncio.run(scenario.prepare(base)))
            assert status == 0, words
        shutil.rmtree(self._data, ignore_errors=True)
        copy_directory(base, self._data)

    def _deadly(self, scenario: Scenario, kind: Kind, number: int) -> str:
        promises(self._data).unlink(missing_ok=True)

        def dies() -> None:
            asyncio.run(_story(self._data, scenario, Layer(self._data, kind, number)))

        status, words = self._child(dies)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return f"it did not die: {words}"
        status, words = self._child(lambda: asyncio.run(_recovery(self._data, scenario)))
        return words if status else ""

    def _lived_through(self, scenario: Scenario, kind: Kind, number: int) -> str:
        def lives() -> None:
            layer = Layer(self._data, kind, number)
            asyncio.run(_story(self._data, scenario, layer))
            assert layer.hit, "the operation never came"

        status, words = self._child(lives)
        return words if status else ""

    def _child(self, work: Callable[[], None]) -> tuple[int, str]:
        """Does the work in a fork; its status and, when it failed, why."""
        told = self._folder / "why.txt"
        told.unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            try:
                work()
            except BaseException:  # noqa: BLE001 - everything is told to the parent
                told.write_text(traceback.format_exc(limit=-4))
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        return status, told.read_text() if told.exists() else ""


async def _story(data: Path, scenario: Scenario, layer: Layer) -> None:
    """Plays the scenario to its end, whatever the layer does."""
    layer.install()
    if scenario.from_start:
        layer.arm()
    async with play(data, failing=scenario.failing) as node:
        await _at_once(node, scenario, node.store.find(KEY).record)
        if not scenario.from_start:
            await node.until(lambda: node.idle, "rest before the order")
            layer.arm()
        scenario.tell(node)
        if layer.lasts:
            await node.until(lambda: layer.hit and _tells_of_disk(node, scenario), "a report of the disk")
            layer.heal()
        await node.until(lambda: scenario.done(node), "the end")
        if scenario.served and not scenario.ends_serving:
            assert KEY not in node.server.ended, "the model stopped being served"
        layer.heal()
        scenario.judge(node)


def _tells_of_disk(node: Play, scenario: Scenario) -> bool:
    """Whether the node has said that its disk fails; it serves meanwhile what it served."""
    record = node.record
    if record is None or scenario.done(node):
        return True
    return bool(record.trouble) or record.outcome.reason == DISK_FAILED


async def _at_once(node: Play, scenario: Scenario, found: Record) -> None:
    """The active revision, or the one whose commit was begun, serves before any order is heard."""
    passed = found.target.revision if found.target and found.state is State.COMMIT else None
    expected = passed or found.active
    if expected is not None and found.state is not State.WITHDRAW:
        await node.until(lambda: node.serves == expected, f"{expected[:12]} serves at once")


async def _recovery(data: Path, scenario: Scenario) -> None:
    """A new process on what the dead one left: whole, in the state of the table, serving, and led to the end."""
    found = Store(data).find(KEY)
    _kept_its_promises(data, found.record)
    assert found.repair == "", f"no fault of this kind damages a record: {found.repair}"
    _never_lost(Store(data), scenario, found.record)
    loading = Store(data).files_of(KEY).found_loading()
    counted, event = found_at_start(found.record, frozenset({loading}) if loading else None)
    expected = next_state(found.record.state, event)
    async with play(data, failing=scenario.failing) as node:
        await _at_once(node, scenario, counted)
        if node.store.states:
            assert node.store.states[0] is expected, f"{found.record.state} went on in {node.store.states[0]}"
        scenario.tell(node)
        await node.until(lambda: scenario.done(node), f"the end, from {found.record.state}")
        scenario.judge(node)


def _kept_its_promises(data: Path, record: Record) -> None:
    """What was recorded when the process died is on disk: the last state, or the one being written."""
    path = promises(data)
    lines = path.read_text().splitlines() if path.exists() else []
    kept = next((line.split()[0] for line in reversed(lines) if line.endswith("kept")), None)
    begun = lines[-1].split()[0] if lines else None
    assert kept is None or record.state in (kept, begun), f"{kept} was recorded, {record.state} is on disk"


def _never_lost(store: Store, scenario: Scenario, record: Record) -> None:
    """Of the revisions that served before, one is on disk whole and known to be."""
    if not scenario.served:
        return
    home = store.files_of(KEY)
    known = [record.active, record.previous, record.target.revision if record.target else None]
    whole = []
    for revision in filter(None, known):
        try:
            home.check(revision)
        except EdgecanaryError:
            continue
        whole.append(revision)
    served = {stated.revision for stated in scenario.served}
    assert served & set(whole), f"of {known} nothing is whole"
    if not scenario.ends_serving:
        assert record.active in served


def _no_rest() -> None:
    return


def main(folder: Path) -> None:
    """Answers requests until there are no more."""
    logging.disable(logging.CRITICAL)
    setattr(steps, "rest", _no_rest)  # noqa: B010 - giving memory back costs a short-lived process more than all its work
    gc.freeze()
    bench = Bench(folder)
    for line in sys.stdin:
        name, _, kind = line.strip().partition(" ")
        if not kind:
            answer = [asdict(operation) for operation in bench.trace(SCENARIOS[name])]
        else:
            answer = [
                {"number": number, **asdict(operation), "wrong": wrong}
                for number, operation, wrong in bench.cases(SCENARIOS[name], Kind[kind])
            ]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
