"""The operator's picture of the cluster: what it keeps, and whom a change wakes."""

import logging

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.clients.kube import Listing
from edgecanary.clients.resources import EDGE_MODELS, EDGE_NODES, MODEL_RELEASES, NODES, ROLLOUTS, Resource
from edgecanary.controller.cache import Cache, Part, Scope, Wakes
from edgecanary.controller.views import ObjectKey
from tests.unit.controller import objects

PUMP, OTHER = ObjectKey("plant", "pump"), ObjectKey("plant", "other")
NOBODY = Wakes()


def rollouts(*names: str) -> Wakes:
    return Wakes(rollouts=frozenset(ObjectKey("plant", name) for name in names))


class Picture:
    """A cache that is fed by hand."""

    def __init__(self, *, namespaces: tuple[str, ...] = ()) -> None:
        self.cache = Cache(Scope("edgecanary-system", namespaces))

    def part(self, resource: Resource) -> Part:
        return next(part for part in self.cache.parts if part.resource == resource)

    def see(self, resource: Resource, body: JsonObject, event: str | None = "MODIFIED") -> Wakes:
        return self.part(resource).observe(event, body)


@pytest.fixture
def picture() -> Picture:
    found = Picture()
    found.see(NODES, objects.node("n1", 1, labels={"edge": "true"}))
    found.see(EDGE_NODES, objects.edge_node("n1", 2, models=[objects.report()]))
    found.see(ROLLOUTS, objects.rollout("pump", 3, selector={"edge": "true"}))
    found.see(ROLLOUTS, objects.rollout("other", 4, model="other", selector={"edge": "no"}))
    return found


def test_the_fleet_joins_each_node_with_what_its_agent_reports(picture: Picture) -> None:
    (view,) = picture.cache.fleet(PUMP)
    assert view.online
    assert view.facts.name == "n1"
    assert view.facts.labels == {"edge": "true"}
    assert view.facts.architecture == "amd64", "the agent knows better than the kubelet"
    assert view.facts.runtimes == frozenset({"ONNX"})
    assert view.report is not None
    assert view.report.active == objects.REVISION


def test_a_node_without_an_agent_is_described_by_its_kubelet(picture: Picture) -> None:
    picture.see(NODES, objects.node("n2", 9, ready=False))
    view = next(view for view in picture.cache.fleet(PUMP) if view.facts.name == "n2")
    assert not view.online
    assert view.facts.architecture == "arm64"
    assert view.facts.memory_bytes == 2 * 2**30
    assert view.facts.runtimes is None, "unknown, not none"
    assert view.report is None


def test_a_report_about_this_very_node_counts(picture: Picture) -> None:
    own = objects.edge_node("n1", 9, models=[objects.report()], node_uid="uid-of-n1")
    picture.see(EDGE_NODES, own)
    assert picture.cache.fleet(PUMP)[0].report is not None


def test_a_report_about_an_earlier_node_of_the_same_name_does_not_count(picture: Picture) -> None:
    picture.see(EDGE_NODES, objects.edge_node("n1", 9, models=[objects.report()], node_uid="uid-of-n1"))
    picture.see(NODES, objects.node("n1", 10, labels={"edge": "true"}, uid="another"))
    (view,) = picture.cache.fleet(PUMP)
    assert view.report is None
    assert view.facts.runtimes is None, "what it can run is unknown"
    assert view.facts.architecture == "arm64", "as its kubelet says"
    picture.see(EDGE_NODES, objects.edge_node("n1", 11, models=[objects.report()], node_uid="another"))
    assert picture.cache.fleet(PUMP)[0].report is not None


def test_a_report_that_begins_to_count_wakes_its_rollouts(picture: Picture) -> None:
    picture.see(NODES, objects.node("n1", 9, labels={"edge": "true"}, uid="another"))
    told = objects.edge_node("n1", 10, models=[objects.report()], node_uid="uid-of-n1")
    assert picture.see(EDGE_NODES, told) == rollouts("pump")
    assert picture.cache.fleet(PUMP)[0].report is None
    again = objects.edge_node("n1", 11, models=[objects.report()], node_uid="another")
    assert picture.see(EDGE_NODES, again) == rollouts("pump")
    assert picture.cache.fleet(PUMP)[0].report is not None


def test_a_report_that_begins_to_count_wakes_its_rollouts_though_nothing_selects_the_node(
    picture: Picture,
) -> None:
    picture.see(NODES, objects.node("n2", 9))
    picture.see(EDGE_NODES, objects.edge_node("n2", 10, models=[objects.report()], node_uid="another"))
    own = objects.edge_node("n2", 11, models=[objects.report()], node_uid="uid-of-n2")
    assert picture.see(EDGE_NODES, own) == rollouts("pump")


def test_capabilities_that_begin_to_count_wake_the_rollouts_that_select_the_node(picture: Picture) -> None:
    picture.see(EDGE_NODES, objects.edge_node("n1", 9, node_uid="another"))
    assert picture.cache.fleet(PUMP)[0].facts.runtimes is None
    assert picture.see(EDGE_NODES, objects.edge_node("n1", 10, node_uid="uid-of-n1")) == rollouts("pump")
    assert picture.cache.fleet(PUMP)[0].facts.runtimes == frozenset({"ONNX"})


def test_one_node_of_several_that_leaves_is_missed(picture: Picture) -> None:
    picture.see(NODES, objects.node("n2", 9))
    assert len(picture.cache.fleet(PUMP)) == 2
    picture.see(NODES, objects.node("n2", 10), "DELETED")
    assert [view.facts.name for view in picture.cache.fleet(PUMP)] == ["n1"]


def test_what_did_not_change_stays_the_same_object(picture: Picture) -> None:
    whole = picture.cache.fleet(PUMP)
    (before,) = whole
    picture.see(NODES, objects.node("n1", 9, labels={"edge": "true"}))
    picture.see(
        EDGE_NODES, objects.edge_node("n1", 10, models=[objects.report()], heartbeat="2026-02-02T00:00:00Z")
    )
    assert picture.cache.fleet(PUMP)[0] is before
    assert picture.cache.fleet(PUMP) is whole
    picture.see(NODES, objects.node("n1", 11, labels={"edge": "true"}, ready=False))
    (after,) = picture.cache.fleet(PUMP)
    assert not after.online
    assert after.facts is before.facts


def test_a_node_in_the_place_of_another_is_a_change(picture: Picture) -> None:
    picture.cache.fleet(PUMP)
    picture.see(NODES, objects.node("n1", 9), "DELETED")
    picture.see(NODES, objects.node("n2", 10))
    assert [view.facts.name for view in picture.cache.fleet(PUMP)] == ["n2"]


def test_models_on_one_node_have_a_view_each(picture: Picture) -> None:
    assert picture.cache.fleet(PUMP)[0].report is not None
    assert picture.cache.fleet(OTHER)[0].report is None
    assert picture.cache.fleet(PUMP)[0].report is not None


def test_an_edge_node_that_is_deleted_takes_its_reports_along(picture: Picture) -> None:
    picture.see(EDGE_NODES, objects.edge_node("n1", 9), "DELETED")
    (view,) = picture.cache.fleet(PUMP)
    assert view.report is None
    assert view.facts.architecture == "arm64"


def test_an_agent_without_a_node_is_not_part_of_the_fleet(picture: Picture) -> None:
    picture.see(EDGE_NODES, objects.edge_node("gone", 9))
    assert [view.facts.name for view in picture.cache.fleet(PUMP)] == ["n1"]


def test_an_edge_node_outside_the_system_namespace_is_ignored(picture: Picture) -> None:
    forged = objects.edge_node("n1", 99, namespace="plant", memory=1)
    assert picture.see(EDGE_NODES, forged) == NOBODY
    assert picture.cache.fleet(PUMP)[0].facts.memory_bytes == 2**31


def test_objects_of_namespaces_that_are_not_served_are_ignored() -> None:
    picture = Picture(namespaces=("elsewhere",))
    assert picture.see(ROLLOUTS, objects.rollout("pump", 1)) == NOBODY
    assert picture.cache.everything() == NOBODY


def test_a_node_that_goes_offline_wakes_the_rollouts_that_select_it(picture: Picture) -> None:
    assert picture.see(NODES, objects.node("n1", 9, labels={"edge": "true"}, ready=False)) == rollouts("pump")


def test_a_nodes_heartbeat_wakes_nobody(picture: Picture) -> None:
    assert picture.see(NODES, objects.node("n1", 9, labels={"edge": "true"})) == NOBODY


def test_a_node_that_changes_sides_wakes_those_it_leaves_and_those_it_joins(picture: Picture) -> None:
    assert picture.see(NODES, objects.node("n1", 9, labels={"edge": "no"})) == rollouts("pump", "other")


def test_a_node_that_runs_a_model_wakes_its_rollout_though_nothing_selects_it(picture: Picture) -> None:
    picture.see(EDGE_NODES, objects.edge_node("n2", 9, models=[objects.report("other")]))
    assert picture.see(NODES, objects.node("n2", 10), "ADDED") == rollouts("other")


def test_a_deleted_node_wakes_the_rollouts_that_selected_it(picture: Picture) -> None:
    gone = objects.node("n1", 9, labels={"edge": "true"})
    assert picture.see(NODES, gone, "DELETED") == rollouts("pump")
    assert picture.cache.fleet(PUMP) == ()


def test_an_agents_heartbeat_wakes_nobody(picture: Picture) -> None:
    again = objects.edge_node("n1", 9, models=[objects.report()], heartbeat="2026-01-01T00:10:00Z")
    assert picture.see(EDGE_NODES, again) == NOBODY


def test_a_report_wakes_the_rollouts_of_its_model_only(picture: Picture) -> None:
    told = objects.edge_node("n1", 9, models=[objects.report(state="Reverted")])
    assert picture.see(EDGE_NODES, told) == rollouts("pump")


def test_a_measurement_wakes_the_model_too(picture: Picture) -> None:
    told = objects.edge_node("n1", 9, models=[objects.report(probe=objects.probe())])
    assert picture.see(EDGE_NODES, told) == Wakes(frozenset({PUMP}), frozenset({PUMP}))


def test_new_capabilities_wake_the_rollouts_that_select_the_node(picture: Picture) -> None:
    grown = objects.edge_node("n1", 9, models=[objects.report()], memory=2**32)
    assert picture.see(EDGE_NODES, grown) == rollouts("pump")


def test_a_model_wakes_itself_and_the_rollouts_that_name_it(picture: Picture) -> None:
    assert picture.see(EDGE_MODELS, objects.plain("pump", 9)) == Wakes(frozenset({PUMP}), frozenset({PUMP}))


def test_a_rollout_that_turns_to_another_model_is_woken_by_that_one_only(picture: Picture) -> None:
    picture.see(ROLLOUTS, objects.rollout("pump", 9, model="third"))
    assert picture.see(EDGE_MODELS, objects.plain("pump", 10)).rollouts == frozenset()
    assert picture.see(EDGE_MODELS, objects.plain("third", 11)).rollouts == frozenset({PUMP})


def test_a_release_that_somebody_deletes_wakes_its_rollout(picture: Picture) -> None:
    picture.see(MODEL_RELEASES, objects.plain("pump", 9))
    assert picture.see(MODEL_RELEASES, objects.plain("pump", 10), "DELETED") == rollouts("pump")


def test_the_largest_measurements_of_all_nodes_are_kept_by_variant(picture: Picture) -> None:
    for number, found in enumerate(
        [objects.probe(load=10, p95=9, peak=1), objects.probe(load=30, p95=2, peak=7)]
    ):
        agent = objects.edge_node(f"m{number}", 20 + number, models=[objects.report(probe=found)])
        picture.see(EDGE_NODES, agent)
    largest = picture.cache.probes(PUMP, objects.REVISION)["fp32"]
    assert (largest.load_milliseconds, largest.latency_p95_milliseconds, largest.peak_memory_bytes) == (
        30,
        9,
        7,
    )
    assert picture.cache.probes(PUMP, "cd" * 32) == {}, "of the wanted revision only"


def test_reasons_are_counted_for_the_metrics(picture: Picture) -> None:
    picture.see(ROLLOUTS, objects.rollout("pump", 9, reason="Promoted"))
    counted, _ = picture.cache.reasons()
    assert counted == {"Promoted": 1, "": 1}


def test_an_object_that_cannot_be_read_is_left_out_with_a_word_in_the_log(
    picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    broken: JsonObject = {
        "kind": "Rollout",
        "metadata": {"name": "x", "namespace": "plant", "resourceVersion": "9"},
    }
    with caplog.at_level(logging.WARNING):
        assert picture.see(ROLLOUTS, broken) == NOBODY
    assert "Rollout: spec: Field required" in caplog.text


def test_of_a_node_only_what_decides_something_is_kept(picture: Picture) -> None:
    record = picture.cache._nodes.store.get(ObjectKey("", "n1"))
    assert vars(record).keys() == {"labels", "ready", "uid", "architecture", "memory_bytes"}


class TestWhatTheWatchOwes:
    """A list that shows what the watch has not delivered tells of a watch that hangs."""

    @staticmethod
    def listed(picture: Picture, version: int, *bodies: JsonObject) -> None:
        part = picture.cache._nodes
        entries = tuple(part._entry(body) for body in bodies)
        part.take([Listing(str(version), entries)])

    def test_a_list_of_known_objects_leaves_nothing_owed(self, picture: Picture) -> None:
        self.listed(picture, 5, objects.node("n1", 1))
        assert not picture.part(NODES).owes

    def test_a_list_with_a_newer_object_leaves_it_owed_until_the_watch_delivers_it(
        self, picture: Picture
    ) -> None:
        self.listed(picture, 20, objects.node("n1", 20))
        assert picture.part(NODES).owes
        picture.see(NODES, objects.node("n1", 20))
        assert not picture.part(NODES).owes

    def test_a_second_list_confirms_how_long_the_watch_is_behind(self, picture: Picture) -> None:
        self.listed(picture, 20, objects.node("n1", 20))
        assert picture.part(NODES).overdue() == 0.0
        self.listed(picture, 21, objects.node("n1", 20))
        assert picture.part(NODES).overdue() > 0.0

    def test_an_api_server_that_is_away_does_not_count_against_the_watch(self, picture: Picture) -> None:
        self.listed(picture, 20, objects.node("n1", 20))
        first = picture.part(NODES).overdue()
        assert picture.part(NODES).overdue() == first, "only lists move it"
