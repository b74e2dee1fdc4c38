"""The agent's port to a real API server: what it hears, what it writes, and what it survives."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgecanary.api.edgenode import EdgeNodeStatus, ModelState, NodeModelStatus
from edgecanary.base.errors import NotFound, Unavailable
from edgecanary.clients.nodeaccess import ApiAccess, direct, from_kubeconfig
from edgecanary.clients.nodeapi import FIELD_MANAGER, NodeApi
from edgecanary.clients.nodeevents import LabelsHeard, NodeEvent, ReleaseChanged, ReleaseGone, ReleasesListed
from edgecanary.clients.nodehttp import HttpLimits
from edgelab.api import APPLY_PATCH, JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.fixtures import NewControlPlane
from edgelab.nodes import create_node, delete_node, set_labels, set_ready

GROUP = "/apis/edgecanary.dev/v1alpha1"
PATIENT = HttpLimits()
HASTY = HttpLimits(connect_seconds=2, read_seconds=2, silence_seconds=2)


@dataclass
class Heard:
    """What a port delivered."""

    events: list[NodeEvent] = field(default_factory=list)

    def of(self, namespace: str) -> list[tuple[str, str, int]]:
        """The news of releases in the namespace: kind, name and sequence."""
        found: list[tuple[str, str, int]] = []
        for event in self.events:
            if isinstance(event, ReleaseChanged) and event.release.metadata.namespace == namespace:
                found.append(("changed", event.release.metadata.name, event.release.spec.sequence))
            elif isinstance(event, ReleaseGone) and event.namespace == namespace:
                found.append(("gone", event.name, 0))
        return found

    def listed(self, namespace: str) -> list[list[str]]:
        """The names in the namespace in each list."""
        return [
            [item.metadata.name for item in event.releases if item.metadata.namespace == namespace]
            for event in self.events
            if isinstance(event, ReleasesListed)
        ]

    def known(self, namespace: str) -> dict[str, int]:
        """The releases that are there after all that was heard: sequence by name."""
        found: dict[str, int] = {}
        for event in self.events:
            if isinstance(event, ReleasesListed):
                found = {
                    item.metadata.name: item.spec.sequence
                    for item in event.releases
                    if item.metadata.namespace == namespace
                }
            elif isinstance(event, ReleaseChanged) and event.release.metadata.namespace == namespace:
                found[event.release.metadata.name] = event.release.spec.sequence
            elif isinstance(event, ReleaseGone) and event.namespace == namespace:
                found.pop(event.name, None)
        return found

    @property
    def uids(self) -> list[str]:
        return [event.uid for event in self.events if isinstance(event, LabelsHeard)]

    @property
    def labels(self) -> list[dict[str, str] | None]:
        return [
            None if event.labels is None else dict(event.labels)
            for event in self.events
            if isinstance(event, LabelsHeard)
        ]


@contextlib.asynccontextmanager
async def listening(port: NodeApi) -> AsyncIterator[Heard]:
    heard = Heard()
    port.start(heard.events.append)
    try:
        yield heard
    finally:
        port.stop()


async def until(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def admin_port(
    control_plane: ControlPlane, node: str, namespace: str, limits: HttpLimits = PATIENT
) -> NodeApi:
    return NodeApi(from_kubeconfig(control_plane.kubeconfig()), node, namespace, limits)


def fresh_namespace(control_plane: ControlPlane) -> str:
    name = f"plant-{uuid.uuid4().hex[:12]}"
    control_plane.create_namespace(name)
    return name


def release_path(namespace: str, name: str) -> str:
    return f"{GROUP}/namespaces/{namespace}/modelreleases/{name}"


def put_release(control_plane: ControlPlane, namespace: str, name: str, sequence: int) -> JsonObject:
    body = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": name},
        "spec": {"model": name, "sequence": sequence},
    }
    path = f"{release_path(namespace, name)}?fieldManager=test&force=true"
    return control_plane.admin.patch(path, body, content_type=APPLY_PATCH)


def edge_node(control_plane: ControlPlane, namespace: str, node: str) -> JsonObject:
    return control_plane.admin.get(f"{GROUP}/namespaces/{namespace}/edgenodes/{node}")


def status(*models: str) -> EdgeNodeStatus:
    return EdgeNodeStatus(
        agent_version="0.1.0",
        heartbeat_time=datetime(2026, 5, 1, tzinfo=UTC),
        models=tuple(
            NodeModelStatus(namespace="plant", name=name, state=ModelState.ACTIVE, active="a" * 64)
            for name in models
        ),
    )


async def test_it_lists_the_releases_and_then_hears_of_every_change(
    control_plane: ControlPlane, namespace: str
) -> None:
    put_release(control_plane, namespace, "pump", 1)
    async with listening(admin_port(control_plane, "n1", namespace)) as heard:
        await until(lambda: heard.listed(namespace))
        put_release(control_plane, namespace, "pump", 2)
        put_release(control_plane, namespace, "fan", 1)
        control_plane.admin.delete(release_path(namespace, "pump"))
        await until(lambda: heard.known(namespace) == {"fan": 1})

    if len(heard.listed(namespace)) == 1:
        # A server that begins its history anew, as after a change of the kind, has it listed again instead.
        assert heard.of(namespace) == [("changed", "pump", 2), ("changed", "fan", 1), ("gone", "pump", 0)]
    assert heard.listed(namespace)[0] == ["pump"]


async def test_it_hears_its_own_nodes_labels_and_no_other_change_of_it(
    control_plane: ControlPlane, namespace: str
) -> None:
    name = f"{namespace}-a"
    create_node(control_plane.admin, name, labels={"site": "east"})
    create_node(control_plane.admin, f"{namespace}-b", labels={"site": "north"})
    async with listening(admin_port(control_plane, name, namespace)) as heard:
        await until(lambda: heard.labels)
        set_ready(control_plane.admin, name, "False")
        set_labels(control_plane.admin, f"{namespace}-b", {"site": "south"})
        set_labels(control_plane.admin, name, {"site": "west"})
        await until(lambda: len(heard.labels) == 2)
        delete_node(control_plane.admin, name)
        await until(lambda: len(heard.labels) == 3)

    base = {"kubernetes.io/hostname": name}
    assert heard.labels == [{**base, "site": "east"}, {**base, "site": "west"}, None]


async def test_it_hears_that_its_node_was_replaced_by_one_of_the_same_name_and_labels(
    control_plane: ControlPlane, namespace: str
) -> None:
    name = f"{namespace}-a"
    create_node(control_plane.admin, name, labels={"site": "east"})
    async with listening(admin_port(control_plane, name, namespace)) as heard:
        await until(lambda: heard.uids)
        delete_node(control_plane.admin, name)
        create_node(control_plane.admin, name, labels={"site": "east"})
        await until(lambda: len(heard.uids) == 3)

    first, none, second = heard.uids
    assert none == ""
    assert "" not in (first, second)
    assert first != second


async def test_a_node_that_is_not_there_is_told_apart_from_one_without_labels(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with listening(admin_port(control_plane, f"{namespace}-none", namespace)) as heard:
        await until(lambda: heard.labels)

    assert heard.labels == [None]


async def test_the_first_report_makes_the_edge_node_and_later_ones_are_one_write_each(
    new_control_plane: NewControlPlane,
) -> None:
    control_plane = new_control_plane(audit=True)
    control_plane.create_namespace("edgecanary-system")
    access = from_kubeconfig(control_plane.kubeconfig("agent-of-n1", groups=["system:masters"]))
    port = NodeApi(access, "n1", "edgecanary-system")
    await port.write_status(status("pump"))
    first = sum(request.user == "agent-of-n1" for request in control_plane.audit_log.writes())
    await port.write_status(status("pump", "fan"))
    await port.write_status(status("fan"))
    writes = [request for request in control_plane.audit_log.writes() if request.user == "agent-of-n1"]

    found = edge_node(control_plane, "edgecanary-system", "n1")
    assert EdgeNodeStatus.model_validate(found["status"]) == status("fan")
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]} == {FIELD_MANAGER}
    assert (first, len(writes)) == (3, 5)


async def test_a_report_takes_its_fields_back_from_whoever_meddled(
    control_plane: ControlPlane, namespace: str
) -> None:
    port = admin_port(control_plane, "n1", namespace)
    await port.write_status(status("pump"))
    control_plane.admin.patch(
        f"{GROUP}/namespaces/{namespace}/edgenodes/n1/status", {"status": {"agentVersion": "meddled"}}
    )
    await port.write_status(status("pump"))

    assert edge_node(control_plane, namespace, "n1")["status"]["agentVersion"] == "0.1.0"


async def test_a_missing_namespace_is_named(control_plane: ControlPlane) -> None:
    control_plane.start()
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await admin_port(control_plane, "n1", "nowhere").write_status(status())


async def test_a_user_without_permission_is_told_which_one_is_missing(
    control_plane: ControlPlane, namespace: str
) -> None:
    access = from_kubeconfig(control_plane.kubeconfig("nobody", groups=()))
    with pytest.raises(Unavailable, match='User "nobody" cannot patch resource "edgenodes/status"') as caught:
        await NodeApi(access, "n1", namespace).write_status(status())

    assert caught.value.reason == "Forbidden"


async def test_a_token_file_that_is_renewed_is_read_again(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "agent"}}
    control_plane.admin.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "agent", "namespace": namespace}],
    }
    control_plane.admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    token_file = tmp_path / "token"
    token_file.write_text("expired")
    port = NodeApi(direct(control_plane.url, token_file, control_plane.ca_file), "n1", namespace)
    try:
        with pytest.raises(Unavailable, match="HTTP 401"):
            await port.write_status(status())
        token_file.write_text(control_plane.service_account_token(namespace, "agent") + "\n")
        await port.write_status(status("pump"))
    finally:
        control_plane.admin.delete(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{namespace}")

    assert edge_node(control_plane, namespace, "n1")["status"]["models"][0]["name"] == "pump"


async def test_a_server_whose_certificate_is_not_trusted_is_not_talked_to(
    control_plane: ControlPlane, namespace: str
) -> None:
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await NodeApi(ApiAccess(server=control_plane.url), "n1", namespace).write_status(status())


async def test_it_goes_on_hearing_after_the_api_server_was_down(breakable: ControlPlane) -> None:
    place = fresh_namespace(breakable)
    put_release(breakable, place, "pump", 1)
    port = admin_port(breakable, "n1", place)
    async with listening(port) as heard:
        await until(lambda: heard.listed(place))
        await asyncio.to_thread(breakable.stop_api_server, kill=True)
        with pytest.raises(Unavailable):
            await port.write_status(status())
        await asyncio.to_thread(breakable.start)
        put_release(breakable, place, "pump", 2)
        await until(lambda: ("changed", "pump", 2) in heard.of(place) or len(heard.listed(place)) > 1)
        put_release(breakable, place, "pump", 3)
        await until(lambda: ("changed", "pump", 3) in heard.of(place))
        await port.write_status(status("pump"))


async def test_a_server_that_hangs_is_given_up_and_heard_again(breakable: ControlPlane) -> None:
    place = fresh_namespace(breakable)
    port = admin_port(breakable, "n1", place, HASTY)
    async with listening(port) as heard:
        await until(lambda: heard.listed(place))
        breakable.api_server.pause()
        with pytest.raises(Unavailable):
            await port.write_status(status())
        await asyncio.sleep(3)
        breakable.api_server.resume()
        await until(breakable.admin.is_ready)
        put_release(breakable, place, "pump", 1)
        await until(lambda: ("changed", "pump", 1) in heard.of(place) or ["pump"] in heard.listed(place))


async def test_watching_ends_at_once_when_it_is_to_end(control_plane: ControlPlane, namespace: str) -> None:
    def watchers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("watch ")]

    async with listening(admin_port(control_plane, "n1", namespace)) as heard:
        await until(lambda: heard.labels and heard.listed(namespace))
        assert len(watchers()) == 2

    await until(lambda: not watchers())
