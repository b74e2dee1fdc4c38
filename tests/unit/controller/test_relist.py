"""When kinds are listed, and what a list that shows a hanging watch sets off."""

from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import NotFound
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import NODES, Resource
from edgecanary.controller.cache import Wakes
from edgecanary.controller.relist import Reactions, Relister
from edgecanary.controller.views import ObjectKey

SERVER = cast("KubeClient", object())
"""The part below does not ask it."""

WOKEN = Wakes(rollouts=frozenset({ObjectKey("plant", "pump")}))


@dataclass
class Part:
    """A kind whose lists and arrears the test chooses."""

    resource: Resource = NODES
    owes: bool = False
    seconds: float = 0.0
    served: bool = True

    def observe(self, event_type: str | None, body: JsonObject) -> Wakes:
        raise AssertionError(f"{event_type} {body}: nothing is watched here")

    def reload(self, kube: KubeClient) -> Wakes:
        assert kube is SERVER
        if not self.served:
            raise NotFound("NotFound", "the server could not find the requested resource")
        return WOKEN

    def overdue(self) -> float:
        return self.seconds


@dataclass
class Noted:
    """What was set off."""

    wakes: list[Wakes] = field(default_factory=list)
    listed: list[Resource] = field(default_factory=list)
    restarts: int = 0

    def restart(self) -> None:
        self.restarts += 1


def relister(part: Part, noted: Noted, *, seconds: float = 600.0) -> Relister:
    reactions = Reactions(noted.wakes.append, noted.listed.append, noted.restart)
    return Relister(SERVER, (part,), reactions, seconds=seconds, random=Random(3))


def test_a_list_wakes_whom_it_concerns_and_is_noted() -> None:
    noted = Noted()
    relister(Part(), noted).relist(NODES)
    assert noted == Noted([WOKEN], [NODES], 0)


def test_lists_come_again_after_the_usual_time_give_or_take_a_tenth() -> None:
    found = relister(Part(), Noted())
    waits = [found.relist(NODES) for _ in range(200)]
    assert 540 <= min(waits) < 560
    assert 640 < max(waits) <= 660


def test_the_first_list_comes_before_the_watch_and_proves_nothing() -> None:
    assert relister(Part(owes=True), Noted()).relist(NODES) >= 540


def test_a_watch_that_owes_something_is_looked_after_in_a_minute() -> None:
    found = relister(Part(owes=True), Noted())
    found.relist(NODES)
    assert found.relist(NODES) == 60.0


@pytest.mark.parametrize(("behind", "restarts"), [(60.0, 0), (91.0, 1)])
def test_a_watch_that_stays_behind_begins_anew(behind: float, restarts: int) -> None:
    noted = Noted()
    relister(Part(owes=True, seconds=behind), noted).relist(NODES)
    assert noted.restarts == restarts


def test_a_kind_that_is_not_served_says_what_to_install() -> None:
    noted = Noted()
    with pytest.raises(
        NotFound, match=r"the API server has no nodes; install .*kubectl apply --server-side -f crds/"
    ) as error:
        relister(Part(served=False), noted).relist(NODES)
    assert error.value.reason == "KindNotServed"
    assert noted == Noted(), "nothing counts as listed"


def test_a_kind_that_is_served_again_has_the_watches_begin_anew_once() -> None:
    part, noted = Part(served=False), Noted()
    found = relister(part, noted)
    with pytest.raises(NotFound):
        found.relist(NODES)
    assert noted.restarts == 0
    part.served = True
    found.relist(NODES)
    found.relist(NODES)
    assert noted.restarts == 1
