"""What must hold after every event of every simulation."""

from collections import Counter
from functools import cache

from edgecanary.agent.record import Record
from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import CanaryStatement, ModelRelease
from edgecanary.api.rollout import RETRY_ANNOTATION
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.cohort import Share, Stratum, quotas, stratum_of
from edgecanary.rollout.conditions import find_condition, is_true
from edgecanary.rollout.fleet import targets
from edgecanary.rollout.planner import plan
from edgecanary.rollout.snapshot import Snapshot
from edgecanary.simulator.node import SimNode
from edgecanary.simulator.simulation import Simulation
from tests.unit.docs.pages import page, section

SETTLING_LOOKS = 24
"""Steps that are complete at once follow one another, look by look; after these the plan must rest."""


@cache
def documented_conditions() -> frozenset[tuple[str, str]]:
    """Every pair of Ready status and reason that the guide explains."""
    table = section(page("docs/guides/rollouts.md"), "What the Ready condition says").split(
        "With `RolledBack`"
    )[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return frozenset((row[0].strip(), row[1].strip().strip("`")) for row in rows)


class Invariants:
    """Watches a simulation and fails at the first event after which something does not hold."""

    def __init__(self, simulation: Simulation) -> None:
        self._sim = simulation
        self._release: ModelRelease | None = simulation.release
        self._status: RolloutStatus = simulation.status
        self._releases = simulation.cluster.release_writes
        self._statuses = simulation.cluster.status_writes
        self._looks = 0
        self._rejected: dict[str, str | None] = {}
        self._records: dict[SimNode, Record] = {}
        self._attempt: tuple[str, int] | None = None
        self._taken: set[str] = set()
        self._allowed: dict[Stratum, int] = {}
        self._fleet = self._members()
        self.checks = 0
        simulation.clockwork.watch(self.check)

    def check(self) -> None:
        """Checks what may have changed with the last event."""
        self.checks += 1
        release, status, members = self._sim.release, self._sim.status, self._members()
        same_fleet = members == self._fleet
        news = release is not self._release or status is not self._status or not same_fleet
        if release is not self._release:
            self._a_release_is_written_only_with_a_change(release)
        if status is not self._status:
            self._a_status_is_written_only_with_a_change()
        self._release, self._status, self._fleet = release, status, members
        if news:
            self._assignments_hold(release, same_fleet=same_fleet)
        for node in self._sim.nodes.values():
            if self._records.get(node) is not node.record:
                self._active_and_previous_are_on_the_disk(node)
        if self._sim.operator.looks != self._looks:
            self._looks = self._sim.operator.looks
            self._planning_again_comes_to_rest()

    def _members(self) -> tuple[object, ...]:
        """What decides who belongs to the fleet and to which stratum."""
        spec = self._sim.cluster.rollout.spec
        nodes = tuple((id(view.facts), view.facts.name) for view in self._sim.cluster.views.values())
        return nodes, spec.node_selector, spec.strategy

    def _a_release_is_written_only_with_a_change(self, release: ModelRelease | None) -> None:
        before, written = self._release, self._sim.cluster.release_writes
        if release is not None and before is not None and release.metadata.uid == before.metadata.uid:
            assert release.spec.sequence == before.spec.sequence + 1
            assert release.spec.model_copy(update={"sequence": 0}) != before.spec.model_copy(
                update={"sequence": 0}
            )
        assert written - self._releases <= 1, "one look writes the release once"
        self._releases = written

    def _a_status_is_written_only_with_a_change(self) -> None:
        written = self._sim.cluster.status_writes
        assert written - self._statuses <= 1, "one look writes the status once"
        if written != self._statuses:
            assert self._sim.status.to_json() != self._status.to_json()
            self._conditions_are_as_documented()
        self._statuses = written

    def _conditions_are_as_documented(self) -> None:
        conditions = self._sim.status.conditions
        ready = find_condition(conditions, ConditionType.READY)
        assert ready is not None, "Ready is always there"
        assert (ready.status, ready.reason) in documented_conditions()
        assert is_true(conditions, ConditionType.RECONCILING) == (ready.status == "Unknown")
        assert is_true(conditions, ConditionType.STALLED) == (ready.status == "False")
        for condition in conditions:
            assert condition.type == ConditionType.READY or condition.status == "True"

    def _assignments_hold(self, release: ModelRelease | None, *, same_fleet: bool) -> None:
        canary = release.spec.canary if release else None
        attempt = (canary.revision, canary.attempt) if canary else None
        if attempt != self._attempt:
            self._attempt, self._allowed = attempt, {}
            self._taken = set()
        if not same_fleet:
            self._taken = set()
        if release is None:
            return
        roles = {node.name: assign(release.spec, node.traits.facts) for node in self._sim.nodes.values()}
        rejected = {entry.revision for entry in release.spec.rejected}
        assert not rejected & {role.revision for role in roles.values()}, "a rejected revision is assigned"
        self._a_rejected_revision_needs_a_retry(release)
        taken = {name for name, assignment in roles.items() if assignment.role is Role.CANARY}
        assert self._taken <= taken, "a node was taken back within an attempt"
        self._taken = taken
        self._reach_is_within_the_step(release, same_fleet=same_fleet)

    def _a_rejected_revision_needs_a_retry(self, release: ModelRelease) -> None:
        """Once rejected, a revision is released again only after a new retry token."""
        token = self._sim.cluster.rollout.metadata.annotations.get(RETRY_ANNOTATION)
        for statement in (release.spec.stable, release.spec.canary):
            if statement is not None and statement.revision in self._rejected:
                assert token != self._rejected.pop(statement.revision), "released again without a retry"
        for entry in release.spec.rejected:
            self._rejected.setdefault(entry.revision, token)

    def _reach_is_within_the_step(self, release: ModelRelease, *, same_fleet: bool) -> None:
        """In each stratum the canary has as many nodes as the step allows, or had them before an edit."""
        keys, canary = release.spec.stratify_by, release.spec.canary
        sizes = Counter(stratum_of(self._sim.nodes[name].traits.facts.labels, keys) for name in self._taken)
        if canary is None or not same_fleet:
            self._allowed = dict(sizes)
            return
        known = self._sim.status.canary
        if known is None or known.revision != canary.revision:
            return
        for stratum, count in self._share_of_the_step(canary).items():
            self._allowed[stratum] = max(count, self._allowed.get(stratum, 0))
        for stratum, count in sizes.items():
            allowed = self._allowed.get(stratum, 0)
            assert count <= allowed, f"{count} nodes of {stratum} take the canary, its step allows {allowed}"

    def _share_of_the_step(self, canary: CanaryStatement) -> dict[Stratum, int]:
        spec, step = self._sim.cluster.rollout.spec, self._sim.status.step
        found = targets(spec, tuple(self._sim.cluster.views.values()), canary)
        sizes = Counter(stratum_of(view.facts.labels, spec.strategy.stratify_by) for view in found.eligible)
        # The release is ahead of the status by one write; a small percent may be less than the `nodes` before it.
        last = max(step.index if step else 0, canary.step)
        shares = [
            quotas(sizes, Share(percent=item.percent, nodes=item.nodes))
            for item in spec.strategy.steps[: last + 1]
        ]
        return {stratum: max(share.get(stratum, 0) for share in shares) for stratum in sizes}

    def _active_and_previous_are_on_the_disk(self, node: SimNode) -> None:
        record = node.record
        assert {item for item in (record.active, record.previous) if item} <= node.disk
        before = self._records.get(node)
        if before is not None and before.previous is not None and before.active is not None:
            assert record.previous is not None, "what there was to go back to is gone"
        self._records[node] = record
        if node.serving is not None:
            assert node.serving in node.disk

    def _planning_again_comes_to_rest(self) -> None:
        """With nothing new, planning again asks for the same, after steps that are complete at once."""
        sim = self._sim
        if not sim.operator.running:
            return
        rollout, release = sim.cluster.rollout, sim.cluster.release
        said = ""
        for _ in range(SETTLING_LOOKS):
            fleet = tuple(sim.cluster.views.values())
            made = plan(Snapshot(rollout, sim.cluster.model, release, fleet), sim.clockwork.time)
            sequence = release.spec.sequence if release else 1
            wanted = made.release.model_copy(update={"sequence": sequence}) if made.release else None
            if made.status == rollout.status and (wanted is None or (release and wanted == release.spec)):
                return
            said = str(made.status.conditions)
            rollout = rollout.model_copy(update={"status": made.status})
            if wanted is not None:
                release = (
                    ModelRelease(spec=wanted)
                    if release is None
                    else release.model_copy(update={"spec": wanted})
                )
        raise AssertionError(f"planning does not come to rest: {said}")
