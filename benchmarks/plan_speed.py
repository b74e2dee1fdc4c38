"""What one plan costs, by the size of the fleet: `.venv/bin/python benchmarks/plan_speed.py [--nodes N …]`.

Everything is in memory and in one process; no clock moves and nothing is written. Beside it the loop that an
operator without a memory runs at every look: each node's object is read, ranked and counted anew.
"""

import argparse
import gc
import hashlib
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypedDict

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgecanary.api.edgemodel import EdgeModel, EdgeModelStatus
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import Condition, ConditionType
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.api.rollout import PROMOTE_ANNOTATION, Rollout
from edgecanary.api.rollout_status import RevisionReference, RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.planner import due_queries, plan
from edgecanary.rollout.snapshot import NodeView, Plan, Snapshot
from edgecanary.rollout.statement import state

SIZES = (100, 1_000, 10_000, 100_000)
NOW = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CLASSES = ("vnni", "neon", "gpu", "generic")
MIB = 2**20
LONG = 2_592_000
_TIMES = 7


@dataclass(frozen=True)
class PlanSpeed:
    """One size. Milliseconds of a look: what is due and the plan; the median of several.

    `new` is the first look of a new process, `joined` one after a node joined, `first` and `last` are looks in
    the first and in the last step, `rest` after the promotion; `plain` is the plain loop in the last step.
    """

    nodes: int
    new: float
    joined: float
    first: float
    last: float
    rest: float
    plain: float
    remembered_bytes: int
    """What is kept from look to look."""


def measure_plans(sizes: Sequence[int] = SIZES) -> list[PlanSpeed]:
    """Each size, the smallest first."""
    return [_measure(nodes) for nodes in sorted(sizes)]


def _measure(nodes: int) -> PlanSpeed:
    new = _median(_Play.look, [_at_rest(nodes, f"new{i}") for i in range(3)])
    play = _at_rest(nodes, "n")
    play.settle()
    remembered = _allocated(_begun(nodes))
    play.model = _model("2.0.0")
    play.settle()
    first = _looks(play)
    joined = _median(_Play.look, [play.with_one_more(i) for i in range(3)])
    play.promote_to("all")
    last = _looks(play)
    plain_loop = _plain_loop(play)
    plain = statistics.median(_once(plain_loop) for _ in range(_TIMES))
    play.promote_to("")
    return PlanSpeed(nodes, new, joined, first, last, _looks(play), plain, remembered)


class _NodeObject(TypedDict):
    """What the plain loop reads of each node."""

    name: str
    labels: dict[str, str]
    architecture: str
    memory: int
    ready: bool
    active: str
    desired: str
    state: str


@dataclass
class _Play:
    """A rollout on a fleet that answers at once."""

    rollout: Rollout
    model: EdgeModel
    fleet: tuple[NodeView, ...]
    release: ModelRelease | None = None

    def snapshot(self) -> Snapshot:
        return Snapshot(self.rollout, self.model, self.release, self.fleet)

    def look(self) -> Plan:
        """What one reconcile computes."""
        snapshot = self.snapshot()
        due_queries(snapshot, NOW)
        return plan(snapshot, NOW)

    def settle(self) -> None:
        """Plans, writes and lets the nodes answer until nothing changes."""
        before: object = None
        while before != (self.release, self.rollout):
            before = (self.release, self.rollout)
            made = self.look()
            if made.release is not None and (self.release is None or made.release != self.release.spec):
                sequence = self.release.spec.sequence + 1 if self.release else 1
                self.release = ModelRelease(spec=made.release.model_copy(update={"sequence": sequence}))
                self.fleet = tuple(self._answered(node) for node in self.fleet)
            self.rollout = self.rollout.model_copy(update={"status": made.status})

    def promote_to(self, step: str) -> None:
        """Promotes until the rollout is in that step; in none when it is empty."""
        for token in range(10):
            current = self.rollout.status.step
            if (current.name if current else "") == step:
                return
            annotations = {PROMOTE_ANNOTATION: f"{step}-{token}"}
            metadata = self.rollout.metadata.model_copy(update={"annotations": annotations})
            self.rollout = self.rollout.model_copy(update={"metadata": metadata})
            self.settle()
        raise RuntimeError(f"step {step!r} is not reached: {self.rollout.status.conditions[0].message}")

    def hear(self) -> "_Play":
        """One node reports anew, as between any two looks; the others stay as they are."""
        told = self.fleet[0].report
        heard = replace(self.fleet[0], report=told.model_copy() if told else None)
        self.fleet = (heard, *self.fleet[1:])
        return self

    def with_one_more(self, number: int) -> "_Play":
        return replace(self, fleet=(*self.fleet, _node(f"late-{number}", number, _revision(self.model))))

    def _answered(self, node: NodeView) -> NodeView:
        if self.release is None:
            return node
        wanted = assign(self.release.spec, node.facts).revision
        if wanted is None or (node.report is not None and node.report.active == wanted):
            return node
        return replace(node, report=_report(wanted))


def _at_rest(nodes: int, prefix: str) -> _Play:
    """A fleet that runs version 1.0.0 and was never planned for under these names."""
    model = _model("1.0.0")
    rollout = Rollout.model_validate(
        {
            "metadata": {"name": "pump", "namespace": "plant", "uid": prefix, "generation": 1},
            "spec": {
                "modelRef": {"name": "pump"},
                "nodeSelector": {"matchLabels": {"edge": "true"}},
                "strategy": {
                    "stratifyBy": ["hardware"],
                    "stepDeadlineSeconds": LONG,
                    "steps": [
                        {"name": "first", "percent": 5, "bakeSeconds": LONG},
                        {"name": "all", "percent": 100, "bakeSeconds": LONG},
                    ],
                },
            },
        }
    )
    fleet = tuple(_node(f"{prefix}-{i:06}", i, _revision(model)) for i in range(nodes))
    return _Play(rollout, model, fleet)


def _begun(nodes: int) -> Callable[[], object]:
    """The first look at a fleet that is to take its first canary."""
    play = _at_rest(nodes, "remembered")
    status = RolloutStatus(observed_generation=1, stable=RevisionReference(revision=_revision(play.model)))
    play.rollout = play.rollout.model_copy(update={"status": status})
    stable = state(play.model.spec, _revision(play.model))
    play.release = ModelRelease(spec=ModelReleaseSpec(model="pump", sequence=1, stable=stable))
    play.model = _model("2.0.0")
    return play.look


def _node(name: str, number: int, active: str) -> NodeView:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "arm64" if number % 4 == 1 else "amd64",
        "edge": "true",
        "hardware": CLASSES[number % 4],
        "site": f"site-{number % 50}",
    }
    facts = NodeFacts(name, labels, labels["kubernetes.io/arch"], 2**30 * (1 + number % 3))
    return NodeView(facts, online=number % 17 != 0, report=_report(active))


def _report(active: str) -> NodeModelStatus:
    """A report of its own for each node, as it comes from the API server."""
    text = (
        f'{{"namespace": "plant", "name": "pump", "active": "{active}", "desired": "{active}", '
        '"state": "Active", "result": "Succeeded", "reason": "Active", "attempt": 1, "sequence": 1}'
    )
    return NodeModelStatus.model_validate_json(text)


def _model(version: str) -> EdgeModel:
    digest = hashlib.sha256(version.encode()).hexdigest()
    file: JsonObject = {"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": digest, "sizeBytes": 9}
    common: JsonObject = {"format": "ONNX", "entrypoint": "m.onnx", "files": [file]}
    found = EdgeModel.model_validate(
        {
            "metadata": {"name": "pump", "namespace": "plant", "generation": 1},
            "spec": {
                "version": version,
                "io": {
                    "inputs": [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}],
                    "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 1]}],
                },
                "variants": [
                    {
                        **common,
                        "name": "vnni",
                        "requires": {"nodeSelector": {"matchLabels": {"hardware": "vnni"}}},
                    },
                    {**common, "name": "arm", "requires": {"architectures": ["arm64"], "minMemory": "512Mi"}},
                    {**common, "name": "any"},
                ],
            },
        }
    )
    revision = revision_digest(found.spec)
    ready = Condition(type=ConditionType.READY, status="True", reason="Accepted", last_transition_time=NOW)
    status = EdgeModelStatus(observed_generation=1, revision=revision, version=version, conditions=(ready,))
    return found.model_copy(update={"status": status})


def _revision(model: EdgeModel) -> str:
    return model.status.revision or ""


def _plain_loop(play: _Play) -> Callable[[], tuple[int, int, int]]:
    """The same question, node by node: who is in the step, who of them has the canary, who is online."""
    release = play.release
    canary = release.spec.canary if release else None
    if release is None or canary is None:
        raise RuntimeError("there is no canary to look at")
    bounds = {entry.stratum: int(entry.below, 16) for entry in canary.cutoffs}
    salt, wanted = release.spec.salt, canary.revision
    objects = [_as_object(node) for node in play.fleet]

    def look() -> tuple[int, int, int]:
        inside = updated = online = 0
        for node in objects:
            labels = node["labels"]
            if labels.get("edge") != "true":
                continue
            fits_arm = node["architecture"] == "arm64" and node["memory"] >= 512 * MIB
            if not (labels.get("hardware") == "vnni" or fits_arm or node["state"]):
                continue
            online += node["ready"]
            digest = hashlib.sha256(f"{salt}/{node['name']}".encode()).digest()
            if int.from_bytes(digest[:8], "big") < bounds.get((labels.get("hardware", ""),), 0):
                inside += 1
                updated += node["active"] == wanted == node["desired"] and node["state"] == "Active"
        return inside, updated, online

    counts = play.look().status.nodes
    if look() != (counts.in_step, counts.updated, counts.online):
        raise RuntimeError("the plain loop and the planner do not count the same")
    if counts.in_step != sum(assign(release.spec, node.facts).role is Role.CANARY for node in play.fleet):
        raise RuntimeError("planner and agents do not count the same")
    return look


def _as_object(node: NodeView) -> _NodeObject:
    report = node.report
    return {
        "name": node.facts.name,
        "labels": dict(node.facts.labels),
        "architecture": node.facts.architecture,
        "memory": node.facts.memory_bytes,
        "ready": node.online,
        "active": report.active or "" if report else "",
        "desired": report.desired or "" if report else "",
        "state": report.state.value if report else "",
    }


def _median(work: Callable[[_Play], object], plays: Iterable[_Play]) -> float:
    """Milliseconds of the work, once on each."""
    return statistics.median(_once(partial(work, play)) for play in plays)


def _looks(play: _Play) -> float:
    """Milliseconds of one look after another, with a report between them."""
    return _median(_Play.look, (play.hear() for _ in range(_TIMES)))


def _once(work: Callable[[], object]) -> float:
    begin = time.process_time_ns()
    work()
    return (time.process_time_ns() - begin) / 1e6


def _allocated(work: Callable[[], object]) -> int:
    """Bytes that are still there after the work."""
    gc.collect()
    tracemalloc.start()
    work()
    gc.collect()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return left


def section(found: Sequence[PlanSpeed]) -> Iterator[str]:
    """The figures for the page."""
    yield "## One plan"
    yield ""
    yield "Milliseconds of CPU for one look at a Rollout: what is to be asked, and the whole plan. Four hardware"
    yield "classes, three variants, no gates. Selector, variants, strata and ranks are worked out when nodes come, go"
    yield "or change labels, and remembered; a look then counts the nodes of its step. Between two looks a node has"
    yield "reported. Beside it a plain loop that reads, ranks and counts every node's object at each look, and decides"
    yield "nothing."
    yield ""
    head = (
        "nodes",
        "first look of a process",
        "a node joined",
        "in the first step (5 %)",
        "in the last step",
        "promoted",
    )
    yield f"| {' | '.join((*head, 'plain loop', 'remembered, MiB'))} |"
    yield f"|{' --- |' * (len(head) + 2)}"
    for one in found:
        figures = (one.new, one.joined, one.first, one.last, one.rest, one.plain)
        cells = [
            f"{one.nodes:,}",
            *(f"{value:.1f}" for value in figures),
            f"{one.remembered_bytes / MIB:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    if len(found) > 1:
        small, large = found[-2], found[-1]
        ratio = large.nodes / small.nodes
        yield f"From {small.nodes:,} to {large.nodes:,} nodes ({ratio:g} times as many) a look costs"
        yield f"{large.new / small.new:.1f} times as much in a new process, {large.last / small.last:.1f} times in"
        yield "the last step."
        yield ""


def main() -> int:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="benchmarks/plan_speed.py", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=SIZES, help="sizes of the fleets")
    print("\n".join(section(measure_plans(parser.parse_args().nodes))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
