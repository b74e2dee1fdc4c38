"""Whatever people do and whatever happens to nodes, operator and Prometheus, the invariants hold."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edgecanary.api.fields import JsonObject
from edgecanary.simulator.fleet import draw_fleet
from edgecanary.simulator.settings import (
    HARDWARE,
    HOUR,
    Duty,
    FleetSettings,
    Regression,
    Traffic,
    Trouble,
    Version,
)
from edgecanary.simulator.simulation import Simulation
from tests.sim.invariants import Invariants
from tests.sim.scenario import ERRORS, STEPS, rollout

MINUTE = 60.0
SPANS = st.sampled_from([1.0, 20.0, 2 * MINUTE, 30 * MINUTE, 5 * HOUR, 30 * HOUR])
SHARES = st.sampled_from([0.0, 0.0, 0.3, 1.0])
STRATEGIES: tuple[JsonObject, ...] = (
    STEPS,
    {**STEPS, "stratifyBy": [], "maxFailedNodes": 2},
    {**STEPS, "steps": [{"name": "all", "percent": 100, "bakeSeconds": 600}]},
    {**STEPS, "onDeadline": "Rollback", "stepDeadlineSeconds": 14_400},
    {
        **STEPS,
        "steps": [
            {"name": "two", "nodes": 2, "bakeSeconds": 60, "approval": "Manual"},
            {"name": "half", "percent": 50, "bakeSeconds": 600},
            {"name": "all", "percent": 100, "bakeSeconds": 0},
        ],
    },
)
NIGHTS = [{"schedule": "0 2 * * *", "durationSeconds": 7200, "timeZone": "America/New_York"}]
LABELS = {"hardware": st.sampled_from(["vnni", "neon", "generic", ""])}


class Story(RuleBasedStateMachine):
    """One Rollout, its fleet, and everything that may happen to them; Invariants watches each event."""

    @initialize(
        seed=st.integers(0, 999),
        nodes=st.integers(1, 8),
        shuffle=st.booleans(),
        start=st.sampled_from(["released", "found", "empty"]),
    )
    def begin(self, seed: int, nodes: int, shuffle: bool, start: str) -> None:
        fleet = FleetSettings(
            nodes=nodes,
            mixes=(HARDWARE,),
            duty=Duty(online=0.9, away_hours=1.0),
            traffic=Traffic(requests_per_hour=200.0),
            trouble=Trouble(download=0.1, verify=0.02, crash_days=3.0),
        )
        self.sim = Simulation(rollout(), draw_fleet(fleet, seed), fleet, seed=seed, shuffle=shuffle)
        self.watcher = Invariants(self.sim)
        self.versions = [Version("1.0.0")]
        self.tokens = 0
        self.joined = 0
        if start == "empty":
            self.sim.set_model(self.versions[0])
        else:
            self.sim.run_already(self.versions[0], released=start == "released")

    def pick(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.sim.nodes))))

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self.sim.run(self.sim.clockwork.now + seconds)

    @rule(
        probe=SHARES,
        crashes=SHARES,
        times=st.sampled_from([1.0, 1.0, 20.0]),
        megabytes=st.sampled_from([5, 900]),
    )
    def a_new_version_comes(self, probe: float, crashes: float, times: float, megabytes: float) -> None:
        name = f"{len(self.versions) + 1}.0.0"
        self.versions.append(Version(name, Regression(times), probe, 0.0, crashes, 0.0, megabytes))
        self.sim.set_model(self.versions[-1])

    @rule(data=st.data())
    def an_earlier_version_comes_back(self, data: st.DataObject) -> None:
        self.sim.set_model(data.draw(st.sampled_from(self.versions)))

    @rule(action=st.sampled_from(["promote", "abort", "retry"]), full=st.booleans())
    def a_person_acts(self, action: str, full: bool) -> None:
        self.tokens += 1
        self.sim.annotate(action, f"full-{self.tokens}" if full and action == "promote" else str(self.tokens))

    @rule(
        strategy=st.sampled_from(STRATEGIES), paused=st.booleans(), nights=st.booleans(), gates=st.booleans()
    )
    def the_rollout_is_edited(self, strategy: object, paused: bool, nights: bool, gates: bool) -> None:
        analysis = ERRORS if gates else {**ERRORS, "intervalSeconds": 60, "historySeconds": 3600}
        windows = NIGHTS if nights else []
        self.sim.edit("again", strategy=strategy, paused=paused, updateWindows=windows, analysis=analysis)

    @rule(data=st.data(), power=st.booleans())
    def a_node_goes(self, data: st.DataObject, power: bool) -> None:
        self.sim.take_offline(self.pick(data), power=power)

    @rule(data=st.data())
    def a_node_comes_back(self, data: st.DataObject) -> None:
        self.sim.bring_online(self.pick(data))

    @rule(data=st.data())
    def an_agent_dies(self, data: st.DataObject) -> None:
        self.sim.crash(self.pick(data))

    @rule(hardware=LABELS["hardware"])
    def a_node_joins(self, hardware: str) -> None:
        self.joined += 1
        self.sim.join(self.sim.newcomer(f"new-{self.joined:02}", hardware=hardware))

    @rule(data=st.data(), hardware=LABELS["hardware"])
    def a_node_is_replaced(self, data: st.DataObject, hardware: str) -> None:
        self.sim.join(self.sim.newcomer(self.pick(data), hardware=hardware))

    @precondition(lambda self: len(self.sim.nodes) > 1)
    @rule(data=st.data())
    def a_node_leaves(self, data: st.DataObject) -> None:
        self.sim.leave(self.pick(data))

    @rule(data=st.data(), hardware=LABELS["hardware"])
    def a_node_is_labelled(self, data: st.DataObject, hardware: str) -> None:
        self.sim.relabel(self.pick(data), hardware=hardware)

    @rule()
    def the_operator_dies_at_its_next_release(self) -> None:
        self.sim.operator.dies_after_release = True

    @rule()
    def the_operator_ends(self) -> None:
        self.sim.stop_operator()

    @rule()
    def the_operator_starts(self) -> None:
        if not self.sim.operator.running:
            self.sim.start_operator()

    @rule(down=st.booleans())
    def prometheus_goes_or_comes(self, down: bool) -> None:
        self.sim.set_prometheus(down=down)

    @rule()
    def somebody_deletes_the_release(self) -> None:
        self.sim.cluster.drop_release()

    def teardown(self) -> None:
        if hasattr(self, "sim"):
            self.sim.run(self.sim.clockwork.now + HOUR)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
