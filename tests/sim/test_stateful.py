"""Whatever people do and whatever happens to nodes, operator and Prometheus, the invariants hold."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

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
SPANS = st.sampled_from([1.0, 30.0, 2 * MINUTE, 90 * MINUTE, 6 * HOUR, 30 * HOUR])
PAUSES = st.sampled_from([0.0, 25.0, 5 * MINUTE, 2 * HOUR])
TROUBLES = st.sampled_from(
    [
        Version(""),
        Version("", Regression(times=20.0)),
        Version("", probe_fails=0.4),
        Version("", load_fails=0.4),
        Version("", crashes=0.5),
        Version("", undownloadable=0.4),
        Version("", megabytes=900.0),
    ]
)
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
EDITS = st.one_of(
    st.sampled_from([{"strategy": strategy} for strategy in STRATEGIES]),
    st.sampled_from([{"paused": True}, {"paused": False}, {"paused": False}]),
    st.sampled_from([{"updateWindows": NIGHTS}, {"updateWindows": []}]),
    st.sampled_from(
        [{"analysis": ERRORS}, {"analysis": None}, {"rollback": "Manual"}, {"rollback": "Automatic"}]
    ),
)


class Story(RuleBasedStateMachine):
    """One Rollout, its fleet, and everything that may happen to them; Invariants watches each event.

    It begins with a rollout on its way. After whatever happens, some time passes.
    """

    @initialize(
        seed=st.integers(0, 999),
        nodes=st.integers(1, 8),
        shuffle=st.booleans(),
        start=st.sampled_from(["released", "released", "found", "empty"]),
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
        self.versions = [Version("1.0.0"), Version("2.0.0")]
        self.tokens = 0
        self.joined = 0
        if start != "empty":
            self.sim.run_already(self.versions[0], released=start == "released")
        Invariants(self.sim)
        self.sim.run(MINUTE)
        self.sim.set_model(self.versions[1])

    def pick(self, data: st.DataObject) -> str:
        return str(data.draw(st.sampled_from(sorted(self.sim.nodes))))

    def wait(self, seconds: float) -> None:
        self.sim.run(self.sim.clockwork.now + seconds)

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self.wait(seconds)

    @rule(trouble=TROUBLES, seconds=SPANS)
    def a_new_version_comes(self, trouble: Version, seconds: float) -> None:
        self.versions.append(replace(trouble, name=f"{len(self.versions) + 1}.0.0"))
        self.sim.set_model(self.versions[-1])
        self.wait(seconds)

    @rule(data=st.data(), seconds=SPANS)
    def an_earlier_version_comes_back(self, data: st.DataObject, seconds: float) -> None:
        self.sim.set_model(data.draw(st.sampled_from(self.versions)))
        self.wait(seconds)

    @rule(
        action=st.sampled_from(["promote", "promote", "abort", "retry"]), full=st.booleans(), seconds=PAUSES
    )
    def a_person_acts(self, action: str, full: bool, seconds: float) -> None:
        self.tokens += 1
        self.sim.annotate(action, f"full-{self.tokens}" if full and action == "promote" else str(self.tokens))
        self.wait(seconds)

    @rule(edit=EDITS, seconds=PAUSES)
    def the_rollout_is_edited(self, edit: JsonObject, seconds: float) -> None:
        self.sim.edit("again", **edit)
        self.wait(seconds)

    @rule(data=st.data(), what=st.sampled_from(["network", "power", "back", "death"]), seconds=PAUSES)
    def a_node_goes_or_comes(self, data: st.DataObject, what: str, seconds: float) -> None:
        name = self.pick(data)
        if what == "back":
            self.sim.bring_online(name)
        elif what == "death":
            self.sim.crash(name)
        else:
            self.sim.take_offline(name, power=what == "power")
        self.wait(seconds)

    @rule(data=st.data(), what=st.sampled_from(["new", "replaced", "labelled", "gone"]), seconds=PAUSES)
    def the_fleet_changes(self, data: st.DataObject, what: str, seconds: float) -> None:
        name, hardware = self.pick(data), data.draw(st.sampled_from(["vnni", "neon", ""]))
        if what == "labelled":
            self.sim.relabel(name, hardware=hardware)
        elif what == "gone" and len(self.sim.nodes) > 1:
            self.sim.leave(name)
        elif what != "gone":
            self.joined += 1
            self.sim.join(
                self.sim.newcomer(f"new-{self.joined:02}" if what == "new" else name, hardware=hardware)
            )
        self.wait(seconds)

    @rule(what=st.sampled_from(["operator", "between writes", "prometheus", "release"]), seconds=PAUSES)
    def something_breaks(self, what: str, seconds: float) -> None:
        if what == "release":
            self.sim.cluster.drop_release()
        elif what == "prometheus":
            self.sim.set_prometheus(down=not self.sim.prometheus.down)
        elif what == "operator":
            self.sim.stop_operator()
        else:
            self.sim.operator.dies_after_release = True
        self.wait(seconds)
        if not self.sim.operator.running:
            self.sim.start_operator()

    def teardown(self) -> None:
        if hasattr(self, "sim"):
            self.wait(6 * HOUR)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
