"""What holds whatever happens, and in whatever order: random edits, actions, outages and fleets that change."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgecanary.analysis.query import Vector
from edgecanary.api.fields import JsonObject
from edgecanary.api.meta import ConditionType
from edgecanary.api.modelrelease import CanaryStatement
from edgecanary.rollout.assignment import Role, assign
from edgecanary.rollout.cohort import Share, quotas, stratum_of, to_bounds
from edgecanary.rollout.conditions import find_condition, is_true
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import NodeView, Rival
from tests.unit.rollout.fleet_play import BAD, DOWN, GOOD, START, Stage, model, rollout

CLASSES = st.sampled_from(["vnni", "neon", "generic"])
FIRST: JsonObject = {"name": "first", "nodes": 2, "bakeSeconds": 30}
THIRD: JsonObject = {"name": "third", "percent": 33, "bakeSeconds": 30}
ALL: JsonObject = {"name": "all", "percent": 100, "bakeSeconds": 30}
STEPS: list[list[JsonObject]] = [
    [FIRST, THIRD, ALL],
    [{**THIRD, "percent": 10}, {"name": "half", "percent": 50, "bakeSeconds": 0}, ALL],
    [{**FIRST, "nodes": 4, "approval": "Manual"}, {"name": "all", "percent": 100, "bakeSeconds": 300}],
    [ALL],
]
NOWHERE = {"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "Europe/Berlino"}
NIGHT = {**NOWHERE, "timeZone": "Europe/Berlin"}
SELECTORS: list[JsonObject] = [
    {},
    {"matchExpressions": [{"key": "hardware", "operator": "NotIn", "values": ["neon"]}]},
]
DONE = {"Promoted", "StragglersPending"}
STUCK = {
    "InvalidSpec",
    "ModelConflict",
    "ModelInvalid",
    "ModelNotFound",
    "RolledBack",
    "StableLost",
    "TooManyStrata",
}
OLDER = Rival("older", "uid-0", START - timedelta(days=1))

Key = tuple[str, int]


class Fleet(RuleBasedStateMachine):
    """One rollout, its fleet and the people and accidents around it."""

    @initialize(kinds=st.lists(CLASSES, min_size=1, max_size=12), running=st.booleans())
    def begin(self, kinds: list[str], running: bool) -> None:
        facts = [
            NodeFacts(f"node-{i:02}", {"hardware": kind}, "amd64", 2**30) for i, kind in enumerate(kinds)
        ]
        self.strategy: JsonObject = {
            "steps": [*STEPS[0]],
            "stratifyBy": ["hardware"],
            "stepDeadlineSeconds": 600,
        }
        self.spec: dict[str, object] = {}
        started = rollout(strategy=self.strategy)
        metadata = started.metadata.model_copy(update={"creation_timestamp": START})
        started = started.model_copy(update={"metadata": metadata})
        self.stage = Stage(started, model("1.0.0"), {f.name: NodeView(f, online=True) for f in facts})
        if running:
            self.stage.preload(model("0.9.0"))
        self.tokens = 0
        self.versions = 1
        self.joined = len(kinds)
        self.moved: set[Key] = set()
        self.bounds: dict[Key, dict[tuple[str, ...], int]] = {}
        self.allowed: dict[Key, int] = {}
        self.reconcile()

    @rule(seconds=st.sampled_from([1, 10, 40, 700]), answers=st.booleans(), dies=st.booleans())
    def pass_time(self, seconds: int, answers: bool, dies: bool) -> None:
        self.reconcile(dies=dies)
        if answers:
            self.stage.answer()
        self.stage.now += timedelta(seconds=seconds)
        self.reconcile()

    @rule(accuracy=st.sampled_from([GOOD, BAD, DOWN, Vector()]))
    def change_accuracy(self, accuracy: Vector) -> None:
        self.stage.accuracy = accuracy

    @rule(action=st.sampled_from(["promote", "abort", "retry"]), full=st.booleans())
    def act(self, action: str, full: bool) -> None:
        self.tokens += 1
        self.stage.annotate(action, f"{'full-' if full else ''}{self.tokens}")

    @rule(back=st.booleans())
    def change_model(self, back: bool) -> None:
        self.versions += 1
        self.stage.model = model("1.0.0" if back else f"{self.versions}.0.0", generation=self.versions)

    @rule()
    def lose_the_model(self) -> None:
        self.stage.model = None

    @rule(steps=st.sampled_from(STEPS), manual=st.booleans())
    def edit_steps(self, steps: list[JsonObject], manual: bool) -> None:
        self.strategy = {**self.strategy, "steps": [*steps], "onDeadline": "Pause" if manual else "Rollback"}
        self.edit(rollback="Manual" if manual else "Automatic")

    @rule(paused=st.booleans())
    def edit_pause(self, paused: bool) -> None:
        self.edit(paused=paused)

    @rule(keys=st.sampled_from([["hardware"], [], ["hardware", "site"]]))
    def edit_strata(self, keys: list[str]) -> None:
        self.strategy = {**self.strategy, "stratifyBy": [*keys]}
        self.edit()

    @rule(selector=st.sampled_from(SELECTORS))
    def edit_selector(self, selector: JsonObject) -> None:
        self.edit(nodeSelector=selector)
        self.fleet_moves()

    @rule(windows=st.sampled_from([[], [NIGHT], [NOWHERE]]))
    def edit_windows(self, windows: list[JsonObject]) -> None:
        self.edit(updateWindows=windows)

    @rule(data=st.data(), online=st.booleans())
    def lose_or_find_a_node(self, data: st.DataObject, online: bool) -> None:
        self.stage.set_online(self.some_node(data), online)

    @rule(data=st.data(), kind=CLASSES)
    def relabel_a_node(self, data: st.DataObject, kind: str) -> None:
        self.stage.relabel(self.some_node(data), {"hardware": kind})
        self.fleet_moves()

    @rule(data=st.data())
    def break_a_node(self, data: st.DataObject) -> None:
        self.stage.failing = set(data.draw(st.lists(st.sampled_from(sorted(self.stage.nodes)), max_size=2)))

    @rule(kind=CLASSES)
    def add_a_node(self, kind: str) -> None:
        self.joined += 1
        facts = NodeFacts(f"late-{self.joined:02}", {"hardware": kind}, "amd64", 2**30)
        self.stage.nodes[facts.name] = NodeView(facts, online=True)
        self.fleet_moves()

    @precondition(lambda self: len(self.stage.nodes) > 1)
    @rule(data=st.data())
    def remove_a_node(self, data: st.DataObject) -> None:
        del self.stage.nodes[self.some_node(data)]
        self.fleet_moves()

    @rule()
    def lose_the_release(self) -> None:
        self.stage.lose_release()
        self.bounds.clear()  # made anew from the steps so far; nodes beyond them keep what they run

    @rule(there=st.booleans())
    def meet_a_rival(self, there: bool) -> None:
        self.stage.rivals = (OLDER,) if there else ()

    def some_node(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.stage.nodes)))

    def edit(self, **spec: object) -> None:
        self.spec = {**self.spec, **spec}
        self.stage.edit(rollout(strategy=self.strategy, **self.spec))

    def fleet_moves(self) -> None:
        """Nodes come into reach by themselves: from now on this attempt's share says nothing."""
        if (canary := self.canary) is not None:
            self.moved.add((canary.revision, canary.attempt))

    @property
    def canary(self) -> CanaryStatement | None:
        return self.stage.release.spec.canary if self.stage.release else None

    def reconcile(self, *, dies: bool = False) -> None:
        self.stage.reconcile(lose_status=dies)
        self.note_the_share()

    def note_the_share(self) -> None:
        """What the step that the release names may reach, at most so far in this attempt."""
        canary, release = self.canary, self.stage.release
        if canary is None or release is None:
            return
        steps, key = self.stage.rollout.spec.strategy.steps, (canary.revision, canary.attempt)
        sizes: dict[tuple[str, ...], int] = {}
        for node in self.stage.nodes.values():
            if matches(release.spec.node_selector, node.facts.labels):
                stratum = stratum_of(node.facts.labels, release.spec.stratify_by)
                sizes[stratum] = sizes.get(stratum, 0) + 1
        begun = steps[: min(canary.step, len(steps) - 1) + 1]
        most = max(
            sum(quotas(sizes, Share(percent=step.percent, nodes=step.nodes)).values()) for step in begun
        )
        self.allowed[key] = max(most, self.allowed.get(key, 0))

    @invariant()
    def a_rejected_revision_is_assigned_to_nobody(self) -> None:
        release = self.stage.release
        if release is None:
            return
        rejected = {entry.revision for entry in release.spec.rejected}
        assigned = {assign(release.spec, node.facts).revision for node in self.stage.nodes.values()}
        assert not rejected & assigned

    @invariant()
    def the_canary_never_reaches_more_nodes_than_the_widest_step_begun_allows(self) -> None:
        release, canary = self.stage.release, self.canary
        if release is None or canary is None or (canary.revision, canary.attempt) in self.moved:
            return
        taken = [n for n in self.stage.nodes.values() if assign(release.spec, n.facts).role is Role.CANARY]
        assert len(taken) <= self.allowed[canary.revision, canary.attempt]

    @invariant()
    def bounds_of_one_attempt_only_grow(self) -> None:
        canary = self.canary
        if canary is None:
            return
        now, key = to_bounds(canary.cutoffs), (canary.revision, canary.attempt)
        before = self.bounds.get(key, {})
        assert all(now.get(stratum, 0) >= bound for stratum, bound in before.items())
        self.bounds[key] = now

    @invariant()
    def planning_again_changes_nothing(self) -> None:
        stage = self.stage
        for _ in range(2 * max(map(len, STEPS))):  # a step may be complete at once; the plan then settles
            before = (stage.release, stage.status)
            self.reconcile()
            if before == (stage.release, stage.status):
                break
        made = replace(stage, rollout=stage.rollout, release=stage.release).plan()
        quiet = {"analysis": None}
        assert made.status.model_copy(update=quiet) == stage.status.model_copy(update=quiet)
        assert made.events == ()
        if stage.release is not None and made.release is not None:
            assert made.release == stage.release.spec

    @invariant()
    def conditions_are_those_of_the_table(self) -> None:
        conditions = self.stage.status.conditions
        ready = find_condition(conditions, ConditionType.READY)
        assert ready is not None
        assert ready.status == (
            "True" if ready.reason in DONE else "False" if ready.reason in STUCK else "Unknown"
        )
        assert is_true(conditions, ConditionType.RECONCILING) is (ready.status == "Unknown")
        assert is_true(conditions, ConditionType.STALLED) is (ready.status == "False")
        waiting = self.stage.status.waiting
        assert (waiting.reason if waiting else "Promoted") == ready.reason

    @invariant()
    def no_node_loses_a_model_that_was_there_before(self) -> None:
        """What ran before the Rollout is taken away only by giving something else."""
        release = self.stage.release
        if release is not None and release.spec.stable is None and not release.spec.rejected:
            roles = {assign(release.spec, node.facts).role for node in self.stage.nodes.values()}
            assert Role.NONE not in roles


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
