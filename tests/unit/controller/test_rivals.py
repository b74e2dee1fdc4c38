"""Which Rollouts name one EdgeModel, and who is woken when that changes."""

from edgecanary.api.fields import JsonObject
from edgecanary.clients.resources import ROLLOUTS
from edgecanary.controller.cache import Cache, Scope, Wakes
from edgecanary.controller.views import ObjectKey
from tests.unit.controller import objects

MODEL = ObjectKey("plant", "pump")


def key(name: str) -> ObjectKey:
    return ObjectKey("plant", name)


def rollout(name: str, version: int, *, model: str = "pump", **metadata: str) -> JsonObject:
    body = objects.rollout(name, version, model=model)
    found = body["metadata"]
    assert isinstance(found, dict)
    return {**body, "metadata": {**found, "uid": f"uid-{name}", **metadata}}


def cache_of(*bodies: JsonObject) -> Cache:
    cache = Cache(Scope("edgecanary-system"))
    for body in bodies:
        see(cache, body)
    return cache


def see(cache: Cache, body: JsonObject, event: str = "MODIFIED") -> Wakes:
    part = next(part for part in cache.parts if part.resource == ROLLOUTS)
    return part.observe(event, body)


def rivals(cache: Cache, name: str) -> list[str]:
    return [rival.name for rival in cache.rivals(MODEL, key(name))]


def test_the_other_rollouts_of_the_model_are_rivals() -> None:
    cache = cache_of(rollout("a", 1), rollout("b", 2), rollout("c", 3, model="fan"))
    assert (rivals(cache, "a"), rivals(cache, "b"), rivals(cache, "c")) == (["b"], ["a"], ["a", "b"])
    (rival,) = cache.rivals(MODEL, key("a"))
    assert rival.uid == "uid-b"


def test_a_rollout_that_is_being_deleted_is_no_rival() -> None:
    cache = cache_of(rollout("a", 1), rollout("b", 2))
    wakes = see(cache, rollout("b", 3, deletionTimestamp="2026-01-05T08:00:00Z"))
    assert rivals(cache, "a") == []
    assert wakes.rollouts == {key("a"), key("b")}


def test_rollouts_of_one_model_are_woken_when_one_comes_goes_or_turns_to_another_model() -> None:
    cache = cache_of(rollout("a", 1), rollout("c", 2, model="fan"))
    assert see(cache, rollout("b", 3)).rollouts == {key("a"), key("b")}
    assert see(cache, rollout("b", 4, model="fan")).rollouts == {key("a"), key("b"), key("c")}
    assert see(cache, rollout("b", 5, model="fan"), "DELETED").rollouts == {key("b"), key("c")}


def test_a_status_that_is_written_wakes_nobody_else() -> None:
    cache = cache_of(rollout("a", 1), rollout("b", 2))
    assert see(cache, rollout("a", 3)).rollouts == {key("a")}
