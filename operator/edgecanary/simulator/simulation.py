"""A rollout on a fleet that is not there, and what a script may do to it."""

from edgecanary.agent.orders import active
from edgecanary.agent.record import Record, Target
from edgecanary.api.fields import JsonObject
from edgecanary.api.modelrelease import ModelRelease, ModelReleaseSpec
from edgecanary.api.rollout_status import HistoryEntry, HistoryOutcome, RolloutStatus
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView
from edgecanary.rollout.statement import reference, state
from edgecanary.simulator.clockwork import Action
from edgecanary.simulator.cluster import checked
from edgecanary.simulator.fleet import RUNTIMES, NodeTraits, equip, relabelled
from edgecanary.simulator.models import edge_model, spec_of
from edgecanary.simulator.settings import DAY, Version
from edgecanary.simulator.world import World

CHECK_SECONDS = 20.0
"""How long the operator's check of an EdgeModel takes."""


YEAR = 365 * DAY


class Simulation(World):
    """A world with people and accidents in it: every method is something that happens now."""

    _generation = 0

    def run_already(self, version: Version, *, released: bool = True) -> None:
        """Every node runs the version. Without `released` nothing in the cluster says so yet."""
        revision, spec, now = self.describe(version), spec_of(version, self.base), self.clockwork.time
        statement = state(spec, revision)
        rollout, self._generation = self.cluster.rollout, 1
        self.cluster.model = checked(edge_model(rollout, spec, 1, now), now)
        release = ModelReleaseSpec(
            model=rollout.spec.model_ref.name,
            sequence=1,
            stable=statement,
            node_selector=rollout.spec.node_selector,
            stratify_by=rollout.spec.strategy.stratify_by,
            update_windows=rollout.spec.update_windows,
            health=rollout.spec.health,
        )
        uid = f"release-of-{rollout.metadata.uid}" if released else "release-of-another"
        if released:
            ended = HistoryEntry(
                revision=revision, version=version.name, outcome=HistoryOutcome.PROMOTED, end_time=now
            )
            status = RolloutStatus(
                observed_generation=rollout.metadata.generation, stable=reference(statement), history=(ended,)
            )
            metadata = rollout.metadata.model_copy(update={"uid": uid, "annotations": {}})
            self.cluster.release = ModelRelease(metadata=metadata, spec=release)
            self.cluster.rollout = rollout.model_copy(update={"status": status})
        target = Target(statement=statement, attempt=0)
        outcome = active(target, sequence=1, now=now)
        for node in self.nodes.values():
            changes = {"active": revision, "release_uid": uid, "sequence": 1, "outcome": outcome}
            record: Record = node.record.model_copy(update={**changes, "alive": True})
            node.settle(record)
            view = self.cluster.views[node.name]
            self.cluster.set_view(NodeView(view.facts, view.online, node.told))
        self.telemetry.remember(-YEAR)
        self.journal.note(self.clockwork.now, "fleet", f"runs {version.name}")

    def at(self, moment: float, action: Action) -> None:
        """Has something happen at a moment, in seconds since the start."""
        self.clockwork.at(moment, action)

    def set_model(self, version: Version) -> None:
        """A person sets the EdgeModel to a version; its check follows."""
        self.describe(version)
        self._generation += 1
        generation = self._generation
        model = edge_model(self.cluster.rollout, spec_of(version, self.base), generation, self.clockwork.time)
        self.journal.note(self.clockwork.now, "person", f"sets the EdgeModel to {version.name}")
        self.cluster.set_model(model)
        self.operator.wake_soon()

        def end_check() -> None:
            if self._generation == generation:
                self.cluster.set_model(checked(model, self.clockwork.time))
                self.operator.wake_soon()

        self.clockwork.after(CHECK_SECONDS, end_check)

    def edit(self, text: str, **spec: object) -> None:
        """A person replaces top-level fields of the Rollout's spec; `text` says which, for the journal."""
        rollout = self.cluster.rollout
        body: JsonObject = {**rollout.spec.to_json(), **spec}  # type: ignore[dict-item]
        changed = type(rollout.spec).model_validate(body)
        metadata = rollout.metadata.model_copy(update={"generation": rollout.metadata.generation + 1})
        self.journal.note(self.clockwork.now, "person", f"edits the Rollout: {text}")
        self.cluster.set_rollout(rollout.model_copy(update={"metadata": metadata, "spec": changed}))
        self.follow_spec()
        self.operator.wake_soon()

    def annotate(self, action: str, token: str) -> None:
        """A person sets an action's annotation: promote, abort or retry."""
        rollout = self.cluster.rollout
        annotations = {**rollout.metadata.annotations, f"edgecanary.dev/{action}": token}
        metadata = rollout.metadata.model_copy(update={"annotations": annotations})
        self.journal.note(self.clockwork.now, "person", f"sets edgecanary.dev/{action}={token}")
        self.cluster.set_rollout(rollout.model_copy(update={"metadata": metadata}))
        self.operator.wake_soon()

    def take_offline(self, name: str, *, power: bool = False) -> None:
        """A node loses its network, or its power."""
        node = self.nodes[name]
        if node.online:
            (self.lose_power if power else self.lose_network)(node)

    def bring_online(self, name: str) -> None:
        """A node is back."""
        node = self.nodes[name]
        if not node.online:
            self.bring_back(node)

    def crash(self, name: str) -> None:
        """A node's agent dies and is started again."""
        self.kill(self.nodes[name])

    def join(self, traits: NodeTraits) -> None:
        """A node joins the fleet, or is replaced by another one of the same name."""
        self.telemetry.advance(self.clockwork.now)
        if traits.name in self.nodes:
            self.leave(traits.name)
        self.story(traits.name, "joins")
        if traits.name not in self._index:
            self._index[traits.name] = len(self.telemetry.nodes)
            self.telemetry.add(traits)
        self._add(traits)
        self.nodes[traits.name].hear()
        self._begin_life(self.nodes[traits.name])

    def newcomer(self, name: str, **labels: str) -> NodeTraits:
        """A node that could join: like the others, with these labels."""
        facts = NodeFacts(
            name=name,
            labels={**self.settings.labels, **labels},
            architecture=self.settings.architecture,
            memory_bytes=self.settings.memory_bytes,
            runtimes=RUNTIMES,
        )
        return equip((facts,), self.settings, self.seed)[0]

    def leave(self, name: str) -> None:
        """A node is gone for good."""
        self.story(name, "leaves")
        self.nodes.pop(name).lose_power()
        self.cluster.drop_view(name)

    def relabel(self, name: str, **labels: str) -> None:
        """A node's labels change."""
        node = self.nodes[name]
        words = ", ".join(f"{key}={value}" for key, value in labels.items())
        self.story(name, f"is labelled {words}")
        traits = relabelled(node.traits, {**node.traits.facts.labels, **labels})
        view = self.cluster.views[name]
        self.cluster.set_view(NodeView(traits.facts, view.online, view.report))
        node.relabel(traits)

    def stop_operator(self) -> None:
        """The operator's process ends."""
        self.journal.note(self.clockwork.now, "operator", "is down")
        self.operator.stop()

    def start_operator(self) -> None:
        """A new process of the operator starts."""
        self.journal.note(self.clockwork.now, "operator", "is up")
        self.operator.start()

    def set_prometheus(self, *, down: bool) -> None:
        """Prometheus goes down or comes back."""
        self.journal.note(self.clockwork.now, "prometheus", "is down" if down else "is back")
        self.prometheus.down = down
