"""What every scenario uses: publishing a version, saying what happens, asking who answers with what."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from edgelab.demo.board import Board
from edgelab.demo.checks import Checks
from edgelab.demo.manifests import Renderer, Version
from edgelab.demo.narrator import Narrator
from edgelab.demo.timeline import Timeline
from edgelab.errors import LabError
from edgelab.fleet import Fleet, Subject
from edgelab.modelzoo.traffic import TrafficGenerator

T = TypeVar("T")

NAMESPACE, NAME = "scan", "file-type"


@dataclass(frozen=True)
class Moment:
    """Something that happened, for the summary. `time` is in seconds since the epoch."""

    time: float
    scenario: str
    text: str


@dataclass
class Stage:
    """The fleet with its traffic, and what the scenarios leave for those after them."""

    fleet: Fleet
    traffic: TrafficGenerator
    renderer: Renderer
    narrator: Narrator
    checks: Checks
    scenario: str = ""
    offline: str | None = None
    versions: dict[str, Version] = field(default_factory=dict)
    published: list[tuple[float, Version]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.subject = Subject(self.fleet, NAMESPACE, NAME)

    @property
    def online(self) -> set[str]:
        """The nodes that are not offline."""
        return set(self.fleet.agents) - ({self.offline} if self.offline else set())

    @property
    def timeline(self) -> Timeline:
        """What happened so far."""
        return Timeline(self.fleet.mirror.changes(), self.fleet.plans, namespace=NAMESPACE, name=NAME)

    def begin(self, scenario: str, title: str) -> None:
        """A new scenario."""
        self.scenario = scenario
        self.checks.begin(scenario)
        self.narrator.heading(f"({scenario}) {title}")

    def note(self, text: str) -> None:
        """Say what just happened, and keep it for the summary."""
        self.moments.append(Moment(time.time(), self.scenario, text))
        self.narrator.say(text)

    def apply(self, manifest: Path) -> None:
        """Apply a manifest with kubectl."""
        self.narrator.command(f"kubectl apply -f {manifest}")
        self.fleet.control_plane.kubectl("apply", "-f", str(manifest))

    def prepare(self, number: str) -> Version:
        """Put a version's files into the bucket; its manifest is not applied yet."""
        if number not in self.versions:
            self.versions[number] = self.renderer.version(number)
        version = self.versions[number]
        for key, built in version.files.items():
            self.fleet.s3.put(self.fleet.bucket, key, built.path.read_bytes())
        return version

    def publish(self, number: str) -> Version:
        """Put a version's files into the bucket and apply its EdgeModel."""
        version = self.prepare(number)
        self.published.append((time.time(), version))
        self.apply(version.manifest)
        self.note(f"version {version.short} is published")
        return version

    def wait(self, what: str, condition: Callable[[], T | None], *, version: Version | None = None) -> T:
        """Wait for something that the live copy shows; errors as in `Subject.wait`."""
        return self.subject.wait(what, condition, unless_rejected=version.revision if version else None)

    def running(self, version: Version) -> set[str]:
        """The nodes that reported the version as active and settled."""
        return self.subject.running(version.revision)

    def answering(self, nodes: Iterable[str]) -> dict[str, str]:
        """Which version each of the nodes answers with, or why it gives no answer, asked just now."""
        answers = self.subject.answering(nodes)
        return {node: self.name_of(answer) for node, answer in answers.items()}

    def release(self) -> str:
        """The ModelRelease's sequence, stable and canary version, as the API server has it now."""
        spec = self.subject.release()
        names = [item.version if item else "none" for item in (spec.stable, spec.canary)]
        return f"sequence {spec.sequence}, stable {names[0]}, canary {names[1]}"

    def first_in_line(self, version: Version) -> str:
        """The node that takes the version in the first step, which is for one node."""
        (node,) = self.subject.cohort(version.revision, step=0)
        return node

    def never_in_front(self, numbers: Iterable[str]) -> str:
        """A node that takes none of these versions before the last step.

        Raises:
            LabError: every node is in front for one of them; more nodes are needed.
        """
        last = len(self.subject.rollout().spec.strategy.steps) - 1
        front: set[str] = set()
        for number in numbers:
            revision = self.prepare(number).revision
            front = front.union(*(self.subject.cohort(revision, step=step) for step in range(last)))
        left = sorted(set(self.fleet.agents) - front)
        if not left:
            raise LabError("every node is among the first for one of the versions: give the fleet more nodes")
        return left[0]

    def board(self) -> Board:
        """What there is to see."""
        return Board(self.subject, traffic=self.traffic.report, name_of=self.name_of)

    def name_of(self, revision: str) -> str:
        """The version that a revision belongs to; what is no known revision, as it is."""
        return next((v.name for v in self.versions.values() if v.revision == revision), revision)
