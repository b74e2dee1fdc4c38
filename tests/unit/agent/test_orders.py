"""What the releases ask of a node, and what it has to do about it."""

from edgecanary.agent.machine import Event
from edgecanary.agent.orders import Order, decide, is_stale, orders, refresh, settled_outcome, supersedes
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record, Rejection, Verdict, new_record
from edgecanary.api.artifacts import VariantRequirements
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import ModelRelease, Otherwise
from edgecanary.rollout.eligibility import NodeFacts
from tests.unit.agent.releasing import KEY, NOW, Releases, everywhere, rejected, statement, target

A, B = statement("1.0.0"), statement("2.0.0")
NODE = NodeFacts(name="n1", labels={"site": "east"}, architecture="amd64")
EAST = LabelSelector(match_labels={"site": "east"})
WEST = LabelSelector(match_labels={"site": "west"})


def order_of(release: ModelRelease) -> Order:
    return orders([release], NODE, {})[KEY]


def having(active: str | None = None, previous: str | None = None, **more: object) -> Record:
    changes = {"active": active, "previous": previous, "release_uid": "uid-1", **more}
    return new_record(KEY).model_copy(update=changes)


def refusing(revision: str, attempt: int) -> Rejection:
    verdict = Verdict(result=ModelResult.PROBE_FAILED, reason="GoldenMismatch", message="score 0.3, not 0.9")
    return Rejection(revision=revision, attempt=attempt, verdict=verdict, time=NOW)


def test_a_stable_revision_is_an_order_for_every_node_of_the_release() -> None:
    order = order_of(Releases(selector=EAST).next(stable=A))

    assert (order.desired, order.stable, order.attempt) == (A.revision, True, 0)


def test_a_canary_is_an_order_with_its_attempt() -> None:
    order = order_of(Releases().next(stable=A, canary=everywhere(B, attempt=3)))

    assert (order.desired, order.stable, order.attempt) == (B.revision, False, 3)


def test_a_taken_back_canary_leaves_the_stable_revision() -> None:
    order = order_of(Releases().next(stable=A, canary=everywhere(B), taken_back=(rejected(B),)))

    assert order.desired == A.revision


def test_a_release_without_a_revision_for_the_node_orders_nothing_to_be_served() -> None:
    order = order_of(Releases().next())

    assert (order.target, order.desired) == (None, None)


def test_a_release_for_other_nodes_is_no_order() -> None:
    assert orders([Releases(selector=WEST).next(stable=A)], NODE, {}) == {}


def test_a_followed_release_that_turns_to_other_nodes_leaves_this_one_what_it_has() -> None:
    order = orders([Releases(selector=WEST).next(stable=B)], NODE, {KEY: "uid-1"})[KEY]

    assert (order.target, order.keeps) == (None, True)
    assert decide(having(active=A.revision), order) is None
    told = settled_outcome(having(active=A.revision), order, NOW)
    assert (told.state, told.desired, told.reason) == (ModelState.ACTIVE, A.revision, "Kept")
    assert "nodeSelector" in told.message
    assert settled_outcome(having(active=A.revision, outcome=told), order, NOW) is told


def test_a_node_that_a_release_no_longer_is_for_stops_what_it_works_on() -> None:
    order = orders([Releases(selector=WEST).next(stable=B)], NODE, {KEY: "uid-1"})[KEY]

    assert supersedes(having(active=A.revision, target=target(B)), order)


def test_a_rejected_revision_is_not_kept_by_a_node_that_the_release_no_longer_is_for() -> None:
    release = Releases(selector=WEST).next(stable=A, taken_back=(rejected(B),))
    order = orders([release], NODE, {KEY: "uid-1"})[KEY]

    assert decide(having(B.revision, A.revision), order) is Event.RETURNED
    assert order.given(B.revision).desired == A.revision
    assert decide(having(active=A.revision), order) is None


def test_where_nothing_is_assigned_a_release_may_let_nodes_keep_what_they_have_unless_it_is_rejected() -> (
    None
):
    release = Releases().next(taken_back=(rejected(B),))
    release = release.model_copy(
        update={"spec": release.spec.model_copy(update={"otherwise": Otherwise.KEEP})}
    )
    order = order_of(release)

    assert decide(having(active=A.revision), order) is None
    assert decide(having(active=B.revision), order) is Event.WITHDRAWN
    assert settled_outcome(having(), order, NOW).state is ModelState.WITHDRAWN


def test_a_release_that_yields_counts_only_where_no_other_is_for_the_node() -> None:
    first = Releases(name="a", uid="first").next(stable=A)
    yielding = first.model_copy(update={"spec": first.spec.model_copy(update={"yields": True})})
    second = Releases(name="b", uid="second", selector=EAST).next(stable=B)
    west = NodeFacts(name="n2", labels={"site": "west"}, architecture="amd64")

    assert orders([yielding, second], NODE, {KEY: "first"})[KEY].release_uid == "second"
    assert orders([yielding, second], west, {KEY: "first"})[KEY].release_uid == "first"


def test_of_two_releases_of_one_model_the_one_for_this_node_counts() -> None:
    east = Releases(name="b-east", uid="east", selector=EAST).next(stable=A)
    west = Releases(name="a-west", uid="west", selector=WEST).next(stable=B)

    assert orders([east, west], NODE, {})[KEY].release_uid == "east"
    assert orders([east, west], NODE, {KEY: "west"})[KEY].release_uid == "east"


def test_of_two_releases_for_the_same_node_the_followed_one_goes_on_counting() -> None:
    first = Releases(name="a", uid="first").next(stable=A)
    second = Releases(name="b", uid="second").next(stable=B)

    assert orders([second, first], NODE, {})[KEY].release_uid == "first"
    assert orders([second, first], NODE, {KEY: "second"})[KEY].release_uid == "second"


def test_a_revision_of_which_no_variant_fits_is_ordered_with_the_reason() -> None:
    variant = A.variants[0].model_copy(update={"requires": VariantRequirements(architectures=("riscv64",))})
    order = order_of(Releases().next(stable=A.model_copy(update={"variants": (variant,)})))

    assert order.target is not None
    assert "architecture amd64 is not among riscv64" in order.target.misfit


def test_an_order_names_just_the_variant_that_fits() -> None:
    arm = A.variants[0].model_copy(
        update={"name": "arm", "requires": VariantRequirements(architectures=("arm64",))}
    )
    order = order_of(Releases().next(stable=A.model_copy(update={"variants": (arm, A.variants[0])})))

    assert order.target is not None
    assert [variant.name for variant in order.target.statement.variants] == ["cpu"]


def test_a_lower_sequence_of_the_same_release_is_stale() -> None:
    order = order_of(Releases(sequence=6).next(stable=A))

    assert is_stale(having(sequence=8), order)
    assert not is_stale(having(sequence=7), order)
    assert not is_stale(having(sequence=8, release_uid="an older release"), order)


def test_another_revision_than_the_active_one_is_begun() -> None:
    order = order_of(Releases().next(stable=A, canary=everywhere(B)))

    assert decide(having(active=A.revision), order) is Event.ASSIGNED
    assert decide(having(active=B.revision), order) is None


def test_a_return_to_the_previous_revision_as_stable_takes_the_short_way() -> None:
    assert decide(having(B.revision, A.revision), order_of(Releases().next(stable=A))) is Event.RETURNED


def test_a_canary_proves_itself_although_it_was_here_before() -> None:
    order = order_of(Releases().next(stable=A, canary=everywhere(B, attempt=2)))

    assert decide(having(A.revision, B.revision), order) is Event.ASSIGNED


def test_a_revision_that_failed_here_is_refused_until_its_next_attempt() -> None:
    record = having(active=A.revision, rejected=(refusing(B.revision, 1),))

    first = order_of(Releases().next(stable=A, canary=everywhere(B, attempt=1)))
    second = order_of(Releases().next(stable=A, canary=everywhere(B, attempt=2)))
    as_stable = order_of(Releases().next(stable=B))

    assert decide(record, first) is None
    assert decide(record, second) is Event.ASSIGNED
    assert decide(record, as_stable) is None


def test_what_is_active_is_withdrawn_when_nothing_is_wanted() -> None:
    assert decide(having(active=A.revision), order_of(Releases().next())) is Event.WITHDRAWN
    assert decide(having(), order_of(Releases().next())) is None


def test_an_order_for_another_revision_supersedes_the_work() -> None:
    record = having(target=target(B))

    assert supersedes(record, order_of(Releases().next(stable=A)))
    assert supersedes(record, order_of(Releases().next()))
    assert not supersedes(record, order_of(Releases().next(stable=B)))


def test_renewed_addresses_reach_work_under_way_and_what_it_found_stays() -> None:
    under_way = target(B).model_copy(update={"crashes": 1, "proven": True})
    renewed = statement("2.0.0", publish=lambda path, _: f"https://renewed.example.com{path}")

    found = refresh(under_way, order_of(Releases().next(canary=everywhere(renewed, attempt=4))))

    assert found.variant.files[0].url == "https://renewed.example.com/2.0.0/model.onnx"
    assert (found.crashes, found.proven, found.attempt) == (1, True, 4)


def test_a_refused_revision_is_reported_with_what_was_found_then() -> None:
    record = having(active=A.revision, rejected=(refusing(B.revision, 1),))

    outcome = settled_outcome(record, order_of(Releases().next(stable=A, canary=everywhere(B))), NOW)

    assert (outcome.state, outcome.result) == (ModelState.REVERTED, ModelResult.PROBE_FAILED)
    assert (outcome.desired, outcome.attempt) == (B.revision, 1)
    assert outcome.message == "score 0.3, not 0.9"


def test_a_promotion_of_what_is_active_is_no_news() -> None:
    releases = Releases()
    as_canary = order_of(releases.next(stable=A, canary=everywhere(B)))
    record = having(active=B.revision)
    record = record.model_copy(update={"outcome": settled_outcome(record, as_canary, NOW)})

    assert settled_outcome(record, order_of(releases.next(stable=B)), NOW) == record.outcome


def test_models_of_several_releases_are_told_apart() -> None:
    other = Releases(name="fan", uid="uid-2").next(stable=B)
    other = other.model_copy(update={"spec": other.spec.model_copy(update={"model": "fan"})})

    found = orders([Releases().next(stable=A), other], NODE, {})

    assert {key: order.desired for key, order in found.items()} == {
        KEY: A.revision,
        ModelKey("plant", "fan"): B.revision,
    }
