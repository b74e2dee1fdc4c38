"""What holds whatever happens, and in whatever order: random edits, actions, outages and fleets that change."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgecanary.analysis.query import Vector
from edgecanary.api.meta import ConditionType
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.cohort import Share, quotas, stratum_of, to_bounds
from edgecanary.rollout.conditions import is_true
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.snapshot import NodeView
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, Stage, model, rollout

CLASSES = st.sampled_from(["vnni", "neon", "generic"])
STEPS = [
    {"name": "first", "nodes": 2, "bakeSeconds": 30},
    {"name": "third", "percent": 33, "bakeSeconds": 30},
    {"name": "all", "percent": 100, "bakeSeconds": 30},
]
STRATEGY = {"steps": STEPS, "stratifyBy": ["hardware"], "stepDeadlineSeconds": 600}


class Fleet(RuleBasedStateMachine):
    """One rollout, its fleet and the people and accidents around it."""

    @initialize(kinds=st.lists(CLASSES, min_size=1, max_size=12))
    def begin(self, kinds: list[str]) -> None:
        facts = [
            NodeFacts(f"node-{i:02}", {"hardware": kind}, "amd64", 2**30) for i, kind in enumerate(kinds)
        ]
        self.stage = Stage(
            rollout(strategy=STRATEGY), model("1.0.0"), {f.name: NodeView(f, online=True) for f in facts}
        )
        self.tokens = 0
        self.versions = 1
        self.joined = len(kinds)
        self.shrunk = False
        self.bounds: dict[tuple[str, int], dict[tuple[str, ...], int]] = {}

    @rule(seconds=st.sampled_from([1, 10, 40, 700]), answers=st.booleans(), dies=st.booleans())
    def pass_time(self, seconds: int, answers: bool, dies: bool) -> None:
        self.stage.reconcile(lose_status=dies)
        if answers:
            self.stage.answer()
        self.stage.now += timedelta(seconds=seconds)
        self.stage.reconcile()

    @rule(accuracy=st.sampled_from([GOOD, BAD, DOWN, Vector()]))
    def change_accuracy(self, accuracy: Vector) -> None:
        self.stage.accuracy = accuracy

    @rule(action=st.sampled_from(["promote", "abort", "retry"]))
    def act(self, action: str) -> None:
        self.tokens += 1
        self.stage.annotate(action, str(self.tokens))

    @rule(back=st.booleans())
    def change_model(self, back: bool) -> None:
        self.versions += 1
        self.stage.model = model("1.0.0" if back else f"{self.versions}.0.0", generation=self.versions)

    @rule(paused=st.booleans())
    def edit(self, paused: bool) -> None:
        self.stage.edit(rollout(strategy=STRATEGY, paused=paused))

    @rule(data=st.data(), online=st.booleans())
    def lose_or_find_a_node(self, data: st.DataObject, online: bool) -> None:
        self.stage.set_online(data.draw(st.sampled_from(sorted(self.stage.nodes))), online)

    @rule(data=st.data())
    def break_a_node(self, data: st.DataObject) -> None:
        self.stage.failing = set(data.draw(st.lists(st.sampled_from(sorted(self.stage.nodes)), max_size=2)))

    @rule(kind=CLASSES)
    def add_a_node(self, kind: str) -> None:
        self.joined += 1
        facts = NodeFacts(f"late-{self.joined:02}", {"hardware": kind}, "amd64", 2**30)
        self.stage.nodes[facts.name] = NodeView(facts, online=True)
        self.shrunk = True  # a late node may fall below a bound: shares are checked on steady fleets

    @precondition(lambda self: len(self.stage.nodes) > 1)
    @rule(data=st.data())
    def remove_a_node(self, data: st.DataObject) -> None:
        del self.stage.nodes[data.draw(st.sampled_from(sorted(self.stage.nodes)))]
        self.shrunk = True

    @invariant()
    def a_rejected_revision_is_assigned_to_nobody(self) -> None:
        release = self.stage.release
        if release is None:
            return
        rejected = {entry.revision for entry in release.spec.rejected}
        assigned = {assign(release.spec, node.facts).revision for node in self.stage.nodes.values()}
        assert not rejected & assigned

    @invariant()
    def the_canary_never_reaches_more_nodes_than_its_step_allows(self) -> None:
        release, step = self.stage.release, self.stage.status.step
        if release is None or release.spec.canary is None or step is None or self.shrunk:
            return
        if (
            self.stage.status.canary is None
            or self.stage.status.canary.revision != release.spec.canary.revision
        ):
            return
        sizes: dict[tuple[str, ...], int] = {}
        for node in self.stage.nodes.values():
            stratum = stratum_of(node.facts.labels, ["hardware"])
            sizes[stratum] = sizes.get(stratum, 0) + 1
        begun = self.stage.rollout.spec.strategy.steps[
            : step.index + 1
        ]  # a small percent may be less than `nodes`
        shares = [quotas(sizes, Share(percent=spec.percent, nodes=spec.nodes)) for spec in begun]
        allowed = max(sum(share.values()) for share in shares)
        taken = [n for n in self.stage.nodes.values() if assign(release.spec, n.facts).role is Role.CANARY]
        assert len(taken) <= allowed

    @invariant()
    def bounds_of_one_attempt_only_grow(self) -> None:
        release = self.stage.release
        if release is None or release.spec.canary is None:
            return
        canary = release.spec.canary
        now, key = to_bounds(canary.cutoffs), (canary.revision, canary.attempt)
        before = self.bounds.get(key, {})
        assert all(now.get(stratum, 0) >= bound for stratum, bound in before.items())
        self.bounds[key] = now

    @invariant()
    def planning_again_changes_nothing(self) -> None:
        stage = self.stage
        for _ in range(2 * len(STEPS)):  # a step may be complete at once; the plan then settles
            stage.reconcile()
        twin = replace(stage, rollout=stage.rollout, release=stage.release)
        made = twin.plan()
        assert made.status.model_copy(update={"analysis": None}) == stage.status.model_copy(
            update={"analysis": None}
        )
        if stage.release is not None and made.release is not None:
            assert made.release == stage.release.spec

    @invariant()
    def reconciling_and_stalled_never_hold_together(self) -> None:
        conditions = self.stage.status.conditions
        assert not (
            is_true(conditions, ConditionType.RECONCILING) and is_true(conditions, ConditionType.STALLED)
        )


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
