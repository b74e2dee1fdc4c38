"""The parts of a simulation put together: who hears of what, and how nodes come and go by themselves."""

import math
from collections.abc import Sequence
from random import Random

import numpy as np

from edgecanary.agent.ports import HealthCounters, ModelKey
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.rollout.snapshot import NodeView
from edgecanary.simulator.answers import CHANNELS, Prometheus
from edgecanary.simulator.clockwork import Clockwork
from edgecanary.simulator.cluster import Cluster
from edgecanary.simulator.fleet import NodeTraits, presence
from edgecanary.simulator.journal import Journal
from edgecanary.simulator.models import default_spec, spec_of
from edgecanary.simulator.node import SimNode
from edgecanary.simulator.operator import SimOperator
from edgecanary.simulator.settings import DAY, HOUR, START, FleetSettings, Version, pace_for
from edgecanary.simulator.telemetry import Telemetry
from edgecanary.simulator.traces import Channel, Traces
from edgecanary.simulator.work import Calendar

NOT_READY_SECONDS = 40.0
"""After what time without a word a Node is no longer Ready."""

STORY_NODES = 20
"""In larger fleets single nodes have no lines in the journal."""


class World:
    """The operator, its cluster, Prometheus and the nodes. Everything random comes from `seed`."""

    def __init__(
        self,
        rollout: Rollout,
        nodes: Sequence[NodeTraits],
        settings: FleetSettings,
        *,
        seed: int = 0,
        shuffle: bool = False,
        base: EdgeModelSpec | None = None,
    ) -> None:
        """`shuffle` has what happens at one moment happen in a random order, and messages take random times."""
        self.settings, self.seed = settings, seed
        self.trouble, self.calendar = settings.trouble, Calendar()
        self.clockwork = Clockwork(shuffle=Random(f"{seed}/order") if shuffle else None)  # noqa: S311
        self.journal = Journal()
        self.cluster = Cluster(_with_identity(rollout, seed))
        traces = Traces.draw(settings.traffic, len(nodes), np.random.default_rng(seed))
        self.telemetry = Telemetry(settings.traffic, list(nodes), traces)
        self.prometheus = Prometheus(self.telemetry, Random(f"{seed}/prometheus"))  # noqa: S311
        self.operator = SimOperator(
            self.clockwork, self.cluster, self.telemetry, self.prometheus, self.journal, pace_for(len(nodes))
        )
        self.nodes: dict[str, SimNode] = {}
        self.exposed: dict[str, set[str]] = {}
        """By revision, the nodes that have ever served it."""
        self.base = base or default_spec()
        self._versions: dict[str, Version] = {}
        self._index: dict[str, int] = {}
        self._delays = Random(f"{seed}/delays") if shuffle else None  # noqa: S311
        self.follow_spec()
        for index, traits in enumerate(nodes):
            self._index[traits.name] = index
            self._add(traits)
        self.cluster.on_change.append(self.operator.wake)
        self.cluster.on_release.append(self._announce)
        for node in self.nodes.values():
            self._begin_life(node)

    @property
    def release(self) -> ModelRelease | None:
        """The release as the API server has it."""
        return self.cluster.release

    @property
    def status(self) -> RolloutStatus:
        """The Rollout's status."""
        return self.cluster.rollout.status

    def run(self, until: float) -> None:
        """Lets time pass up to the moment `until`, in seconds."""
        self.clockwork.run(until)

    def version(self, revision: str) -> Version:
        """How a revision behaves."""
        return self._versions[revision]

    def revision(self, version: Version) -> str:
        """The digest of a version."""
        return revision_digest(spec_of(version, self.base))

    def answered(self, node: str, revision: str, since: float) -> HealthCounters:
        """What a node has answered with a revision since a moment: drawn, the same for the same moment."""
        index, now = self._index[node], self.clockwork.now
        random = Random(f"{self.seed}/{node}/{since}")  # noqa: S311
        traces = self.telemetry.traces
        requests = _poisson(random, float(traces.volume[index]) * (now - since))
        chance = float(traces.base[Channel.ERROR][index]) * self.telemetry.times(revision, index, now)
        return HealthCounters(requests, sum(random.random() < chance for _ in range(min(requests, 2000))))

    def serves(self, node: str, revision: str | None) -> None:
        """A node serves another revision from now on, or none."""
        self.telemetry.serves(self._index[node], revision, self.clockwork.now)
        if revision is not None:
            self.exposed.setdefault(revision, set()).add(node)

    def dies(self, node: str) -> None:
        """A revision on trial kills a node's process."""
        self.kill(self.nodes[node])

    def reported(self, node: str, status: NodeModelStatus) -> None:
        """A node's report is on its way."""
        self.clockwork.after(self._delay(0.3), lambda: self._take_report(node, status))

    def lose_network(self, node: SimNode) -> None:
        """A node loses its network; after a while its Node is no longer Ready."""
        self.story(node.name, "loses its network")
        node.lose_network()
        self.telemetry.goes(self._index[node.name], self.clockwork.now)
        self.clockwork.after(NOT_READY_SECONDS, lambda: self._report_ready(node))

    def lose_power(self, node: SimNode) -> None:
        """A node loses its power; after a while its Node is no longer Ready."""
        self.story(node.name, "loses its power")
        node.lose_power()
        self.clockwork.after(NOT_READY_SECONDS, lambda: self._report_ready(node))

    def bring_back(self, node: SimNode) -> None:
        """A node has its network and its power again."""
        self.story(node.name, "is back")
        self.telemetry.returns(self._index[node.name])
        node.return_online()
        self._report_ready(node)

    def kill(self, node: SimNode) -> None:
        """A node's agent dies and is started again."""
        if node.powered:
            self.story(node.name, "its agent dies and starts again")
            node.die()

    def _add(self, traits: NodeTraits) -> None:
        key = ModelKey(self.cluster.rollout.metadata.namespace, self.cluster.rollout.spec.model_ref.name)
        node = self.nodes[traits.name] = SimNode(traits, key, self)
        self.cluster.set_view(NodeView(traits.facts, online=node.online))

    def _begin_life(self, node: SimNode) -> None:
        """Has the node go offline, come back and crash at random times."""
        duty, random = self.settings.duty, Random(f"{node.traits.seed}/life")  # noqa: S311
        if duty.online < 1:
            self.clockwork.after(random.expovariate(1 / presence(duty)), lambda: self._absence(node, random))
        if self.trouble.crash_days > 0:
            self._await_crash(node, random)

    def _absence(self, node: SimNode, random: Random) -> None:
        if self._is_gone(node):
            return
        duty = self.settings.duty
        away = random.expovariate(1 / (duty.away_hours * HOUR))
        if node.online:
            (self.lose_power if random.random() < duty.power else self.lose_network)(node)
            self.clockwork.after(away, lambda: self._return(node))
        next_absence = away + random.expovariate(1 / presence(duty))
        self.clockwork.after(next_absence, lambda: self._absence(node, random))

    def _return(self, node: SimNode) -> None:
        if not self._is_gone(node) and not node.online:
            self.bring_back(node)

    def _await_crash(self, node: SimNode, random: Random) -> None:
        def crash() -> None:
            if not self._is_gone(node):
                self.kill(node)
                self._await_crash(node, random)

        self.clockwork.after(random.expovariate(1 / (self.trouble.crash_days * DAY)), crash)

    def _is_gone(self, node: SimNode) -> bool:
        return self.nodes.get(node.name) is not node

    def _report_ready(self, node: SimNode) -> None:
        if not self._is_gone(node):
            self.cluster.set_online(node.name, online=node.online)

    def _announce(self) -> None:
        """The release changed: every node that is online hears of it."""
        if self._delays is None:
            self.clockwork.after(0.5, self._tell_all)
            return
        for node in self.nodes.values():
            self.clockwork.after(self._delay(0.5), node.hear)

    def _tell_all(self) -> None:
        for node in tuple(self.nodes.values()):
            node.hear()

    def _take_report(self, name: str, status: NodeModelStatus) -> None:
        before = self.cluster.views[name].report if name in self.cluster.views else None
        self.cluster.take_report(name, status)
        if before is None or before.state is not status.state or before.active != status.active:
            why = f" ({status.reason})" if status.reason not in ("", status.state.value) else ""
            active = self._versions[status.active].name if status.active else "nothing"
            self.story(name, f"{status.state.value}{why}, runs {active}")

    def _delay(self, usual: float) -> float:
        return usual if self._delays is None else self._delays.uniform(0.1, 10 * usual)

    def describe(self, version: Version) -> str:
        """Makes a version known; its revision."""
        revision = self.revision(version)
        self._versions.setdefault(revision, version)
        self.telemetry.describe(revision, version, self.clockwork.now)
        return revision

    def follow_spec(self) -> None:
        """Counts what the gates of the Rollout's spec ask for."""
        analysis = self.cluster.rollout.spec.analysis
        metrics = analysis.metrics if analysis else ()
        asked = {CHANNELS[metric.preset] for metric in metrics if metric.preset in CHANNELS}
        warmups = [metric.comparison.warmup_seconds for metric in metrics if metric.comparison]
        self.telemetry.count(asked, max(warmups, default=0))

    def story(self, name: str, what: str) -> None:
        """A line about one node, in a fleet that is small enough for it."""
        if len(self.nodes) <= STORY_NODES:
            self.journal.note(self.clockwork.now, name, what)


def _with_identity(rollout: Rollout, seed: int) -> Rollout:
    """The Rollout as the API server would have it: without a status. The UID decides who is first."""
    metadata = rollout.metadata.model_copy(
        update={
            "name": rollout.metadata.name or rollout.spec.model_ref.name,
            "namespace": rollout.metadata.namespace or "default",
            "uid": f"simulated-{seed}",
            "generation": max(1, rollout.metadata.generation),
            "creation_timestamp": START,
            "annotations": {},
        }
    )
    return rollout.model_copy(update={"metadata": metadata, "status": RolloutStatus()})


def _poisson(random: Random, mean: float) -> int:
    """How often something happens that happens `mean` times on average."""
    if mean > 50:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count
