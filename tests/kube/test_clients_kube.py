"""The API server's client, with a real API server and with servers that answer wrongly."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import Conflict, InvalidInput, NotFound, Unavailable, WrongAnswer
from edgecanary.clients.access import Access, own_namespace
from edgecanary.clients.events import EventRecorder, Subject
from edgecanary.clients.kube import FIELD_MANAGER, KubeClient, Secrets, Timeouts
from edgecanary.clients.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    EDGE_MODELS,
    EVENTS,
    MODEL_RELEASES,
    NODES,
    ROLLOUTS,
    SECRETS,
    Resource,
)
from edgecanary.rollout.snapshot import PlannedEvent
from edgelab.controlplane import ControlPlane
from tests.kube.wrong_servers import Behaviour, answer, cut_short, endless, hang_up, serving, silence

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")


def client(control_plane: ControlPlane, *identity: str, timeouts: Timeouts | None = None) -> KubeClient:
    config = control_plane.kubeconfig(identity[0], ()) if identity else control_plane.kubeconfig()
    return KubeClient(Access.find(kubeconfig=config), user_agent="test", timeouts=timeouts)


@pytest.fixture
def kube(control_plane: ControlPlane) -> Iterator[KubeClient]:
    found = client(control_plane)
    yield found
    found.close()


def config_map(name: str, **data: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {**data}}


def rollout(name: str = "pump") -> JsonObject:
    step: JsonObject = {"name": "all", "percent": 100}
    return {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {"modelRef": {"name": "pump"}, "strategy": {"steps": [step]}},
    }


def part(body: JsonObject, key: str) -> JsonObject:
    return cast("JsonObject", body[key])


class TestARealApiServer:
    def test_an_object_is_read_by_name(self, kube: KubeClient, namespace: str) -> None:
        kube.create(CONFIG_MAPS, config_map("a", colour="red"), namespace=namespace)
        assert kube.get(CONFIG_MAPS, "a", namespace=namespace)["data"] == {"colour": "red"}

    def test_a_missing_object_is_not_found(self, kube: KubeClient, namespace: str) -> None:
        with pytest.raises(NotFound, match=f"^rollouts.edgecanary.dev {namespace}/nothing: .* not found"):
            kube.get(ROLLOUTS, "nothing", namespace=namespace)

    def test_a_kind_that_is_not_served_is_not_found(self, kube: KubeClient) -> None:
        with pytest.raises(NotFound):
            kube.list_all(Resource("no.such.group", "v1", "things", "Thing"), lambda body: body)

    def test_a_list_has_everything_however_many_pages_it_takes(
        self, kube: KubeClient, namespace: str
    ) -> None:
        for number in range(260):
            kube.create(CONFIG_MAPS, config_map(f"m{number:03}"), namespace=namespace)
        listing = kube.list_all(
            CONFIG_MAPS, lambda body: str(part(body, "metadata")["name"]), namespace=namespace
        )
        assert sorted(listing.items) == [f"m{number:03}" for number in range(260)]
        assert listing.version.isdecimal()

    def test_a_list_over_all_namespaces_and_of_cluster_wide_kinds(
        self, kube: KubeClient, namespace: str
    ) -> None:
        kube.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
        found = kube.list_all(CONFIG_MAPS, lambda body: part(body, "metadata")["namespace"])
        assert namespace in found.items
        kube.list_all(NODES, lambda body: body)

    def test_creating_what_exists_is_a_conflict_that_says_so(self, kube: KubeClient, namespace: str) -> None:
        kube.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
        with pytest.raises(Conflict) as conflict:
            kube.create(CONFIG_MAPS, config_map("a"), namespace=namespace)
        assert conflict.value.reason == "AlreadyExists"

    def test_what_is_written_is_the_whole_object_under_our_own_field_manager(
        self, kube: KubeClient, namespace: str
    ) -> None:
        first = kube.create(CONFIG_MAPS, config_map("a", colour="red", size="1"), namespace=namespace)
        data: JsonObject = {"colour": "blue"}
        found = kube.replace(CONFIG_MAPS, "a", {**first, "data": data}, namespace=namespace)
        assert found["data"] == {"colour": "blue"}, "what is no longer written is gone"
        (manager,) = cast("list[JsonObject]", part(found, "metadata")["managedFields"])
        assert (manager["manager"], manager["operation"]) == (FIELD_MANAGER, "Update")

    def test_writing_an_old_version_is_a_conflict(self, kube: KubeClient, namespace: str) -> None:
        first = kube.create(CONFIG_MAPS, config_map("a", colour="red"), namespace=namespace)
        data: JsonObject = {"colour": "blue"}
        kube.replace(CONFIG_MAPS, "a", {**first, "data": data}, namespace=namespace)
        with pytest.raises(Conflict):
            kube.replace(CONFIG_MAPS, "a", first, namespace=namespace)
        assert kube.get(CONFIG_MAPS, "a", namespace=namespace)["data"] == {"colour": "blue"}

    def test_writing_what_is_gone_makes_nothing_anew(self, kube: KubeClient, namespace: str) -> None:
        first = kube.create(CONFIG_MAPS, config_map("a", colour="red"), namespace=namespace)
        with pytest.raises(NotFound):
            kube.replace(CONFIG_MAPS, "b", {**first, "metadata": {"name": "b"}}, namespace=namespace)

    def test_writes_are_held_back_by_whoever_must_allow_them_and_reads_are_not(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        def refuse() -> None:
            raise Conflict("NotLeader", "not now")

        access = Access.find(kubeconfig=control_plane.kubeconfig())
        held = KubeClient(access, user_agent="test", before_write=refuse)
        body = config_map("a", colour="red")
        writes: list[Callable[[], JsonObject]] = [
            lambda: held.create(CONFIG_MAPS, body, namespace=namespace),
            lambda: held.replace(CONFIG_MAPS, "a", body, namespace=namespace),
            lambda: held.merge(CONFIG_MAPS, "a", body, namespace=namespace),
            lambda: held.replace_status(ROLLOUTS, "a", body, namespace=namespace),
        ]
        for write in writes:
            with pytest.raises(Conflict, match="not now"):
                write()
        assert held.list_all(CONFIG_MAPS, lambda body: body, namespace=namespace).items == ()
        held.close()

    def test_a_status_is_written_and_the_spec_is_not(self, kube: KubeClient, namespace: str) -> None:
        body = kube.create(ROLLOUTS, rollout(), namespace=namespace)
        part(body, "spec")["paused"] = True
        written = kube.replace_status(
            ROLLOUTS, "pump", {**body, "status": {"observedGeneration": 1}}, namespace=namespace
        )
        assert part(written, "status")["observedGeneration"] == 1
        assert part(written, "spec")["paused"] is False

    def test_a_status_for_an_object_that_changed_meanwhile_is_a_conflict(
        self, kube: KubeClient, control_plane: ControlPlane, namespace: str
    ) -> None:
        body = kube.create(ROLLOUTS, rollout(), namespace=namespace)
        path = ROLLOUTS.path(namespace=namespace, name="pump")
        control_plane.admin.patch(path, {"metadata": {"annotations": {"edgecanary.dev/abort": "now"}}})
        with pytest.raises(Conflict) as conflict:
            kube.replace_status(
                ROLLOUTS, "pump", {**body, "status": {"observedGeneration": 1}}, namespace=namespace
            )
        assert conflict.value.reason == "Conflict"

    def test_what_breaks_the_schema_is_refused_in_the_servers_words(
        self, kube: KubeClient, namespace: str
    ) -> None:
        body = kube.create(ROLLOUTS, rollout(), namespace=namespace)
        with pytest.raises(InvalidInput, match=r"status\.nodes\.targeted"):
            kube.replace_status(
                ROLLOUTS, "pump", {**body, "status": {"nodes": {"targeted": -1}}}, namespace=namespace
            )

    def test_what_is_forbidden_names_the_rule_to_grant(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        stranger = client(control_plane, "stranger")
        with pytest.raises(Unavailable) as refusal:
            stranger.get(SECRETS, "keys", namespace=namespace)
        assert refusal.value.reason == "Forbidden"
        assert f"secrets {namespace}/keys: the API server forbids it" in str(refusal.value)
        assert 'grant a role with apiGroups: [""], resources: ["secrets"], verbs: ["get"]' in str(
            refusal.value
        )

    def test_a_forbidden_status_names_the_subresource(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        stranger = client(control_plane, "stranger")
        with pytest.raises(Unavailable) as refusal:
            stranger.replace_status(ROLLOUTS, "pump", rollout(), namespace=namespace)
        assert 'resources: ["rollouts/status"], verbs: ["update"]' in str(refusal.value)

    def test_a_user_that_is_not_known_is_unauthorized(
        self, control_plane: ControlPlane, tmp_path: Path
    ) -> None:
        config = tmp_path / "config"
        config.write_text(kubeconfig(control_plane.url, ca=control_plane.ca_file, token="forged"))
        stranger = KubeClient(Access.find(kubeconfig=config), user_agent="test")
        with pytest.raises(Unavailable, match="does not accept our credentials") as refusal:
            stranger.get(NODES, "n1")
        assert refusal.value.reason == "Unauthorized"

    def test_a_secret_is_read_as_bytes(self, kube: KubeClient, namespace: str) -> None:
        value = base64.b64encode(b"\x00secret").decode()
        kube.create(SECRETS, {"metadata": {"name": "keys"}, "data": {"key": value}}, namespace=namespace)
        assert Secrets(kube).read(namespace, "keys") == {"key": b"\x00secret"}

    def test_a_secret_that_does_not_exist_is_named(self, kube: KubeClient, namespace: str) -> None:
        with pytest.raises(NotFound, match=f"there is no Secret keys in namespace {namespace}") as missing:
            Secrets(kube).read(namespace, "keys")
        assert missing.value.reason == "SecretNotFound"

    def test_each_call_is_noted_with_its_outcome(self, control_plane: ControlPlane, namespace: str) -> None:
        seen = []
        access = Access.find(kubeconfig=control_plane.kubeconfig())
        kube = KubeClient(
            access, user_agent="test", observe=lambda verb, kind, how: seen.append((verb, str(kind), how))
        )
        kube.list_all(EDGE_MODELS, lambda body: body, namespace=namespace)
        with pytest.raises(NotFound):
            kube.get(MODEL_RELEASES, "x", namespace=namespace)
        assert seen == [
            ("list", "edgemodels.edgecanary.dev", "ok"),
            ("get", "modelreleases.edgecanary.dev", "NotFound"),
        ]

    def test_a_restarted_server_is_found_again_over_old_connections(self, breakable: ControlPlane) -> None:
        kube = client(breakable)
        kube.get(Resource("", "v1", "namespaces", "Namespace", namespaced=False), "default")
        breakable.stop_api_server()
        with pytest.raises(Unavailable, match="the API server does not answer") as away:
            kube.list_all(NODES, lambda body: body)
        assert away.value.reason == "ApiServerUnreachable"
        breakable.start()
        assert kube.list_all(CUSTOM_RESOURCE_DEFINITIONS, lambda body: body).items

    def test_a_frozen_server_is_given_up(self, breakable: ControlPlane) -> None:
        kube = client(breakable, timeouts=Timeouts(connect=1.0, read=1.0))
        breakable.api_server.pause()
        with pytest.raises(Unavailable):
            kube.list_all(NODES, lambda body: body)
        breakable.api_server.resume()


class TestEvents:
    SUBJECT = PlannedEvent("Promoted", "2.0 is stable")

    @staticmethod
    def recorded(kube: KubeClient, namespace: str) -> list[JsonObject]:
        return list(kube.list_all(EVENTS, lambda body: body, namespace=namespace).items)

    @staticmethod
    def subject(kube: KubeClient, namespace: str) -> Subject:
        body = kube.create(ROLLOUTS, rollout(), namespace=namespace)
        return Subject(ROLLOUTS, namespace, "pump", str(part(body, "metadata")["uid"]))

    def test_an_event_is_shown_by_kubectl_describe(
        self, kube: KubeClient, control_plane: ControlPlane, namespace: str
    ) -> None:
        recorder = EventRecorder(kube, SystemClock(), instance="test")
        recorder.record(
            self.subject(kube, namespace), PlannedEvent("RolledBack", "0.41 is below 0.9", warning=True)
        )
        text = control_plane.kubectl("describe", "rollout", "pump", "-n", namespace)
        (line,) = [line.split() for line in text.splitlines() if "RolledBack" in line]
        assert line[:2] == ["Warning", "RolledBack"]
        assert line[3:] == ["edgecanary-operator", "0.41", "is", "below", "0.9"]

    def test_the_same_transition_told_twice_is_one_event(self, kube: KubeClient, namespace: str) -> None:
        recorder, subject = EventRecorder(kube, SystemClock(), instance="test"), self.subject(kube, namespace)
        for _ in range(3):
            recorder.record(subject, self.SUBJECT)
        (event,) = self.recorded(kube, namespace)
        assert event["count"] == 1

    def test_the_same_words_much_later_are_counted(self, kube: KubeClient, namespace: str) -> None:
        recorder, subject = EventRecorder(kube, SystemClock(), instance="test"), self.subject(kube, namespace)
        recorder.record(subject, self.SUBJECT)
        (event,) = self.recorded(kube, namespace)
        name = str(part(event, "metadata")["name"])
        kube.merge(EVENTS, name, {"lastTimestamp": "2020-01-01T00:00:00Z"}, namespace=namespace)
        recorder.record(subject, self.SUBJECT)
        (event,) = self.recorded(kube, namespace)
        assert event["count"] == 2
        assert event["lastTimestamp"] != "2020-01-01T00:00:00Z"

    def test_other_words_are_another_event(self, kube: KubeClient, namespace: str) -> None:
        recorder, subject = EventRecorder(kube, SystemClock(), instance="test"), self.subject(kube, namespace)
        recorder.record(subject, self.SUBJECT)
        recorder.record(subject, PlannedEvent("Promoted", "3.0 is stable"))
        assert len(self.recorded(kube, namespace)) == 2


def kubeconfig(server: str, *, token: str | None = None, ca: Path | None = None) -> str:
    trust = {"certificate-authority": str(ca)} if ca else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **trust}}],
        "users": [{"name": "u", "user": {"token": token or "x"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    return json.dumps(config)


class TestWrongServers:
    @pytest.mark.parametrize(
        ("behaviour", "error", "reason"),
        [
            (answer("200 OK", b"<html>"), WrongAnswer, "ApiServerGarbage"),
            (answer("200 OK", b"[1]"), WrongAnswer, "ApiServerGarbage"),
            (endless, WrongAnswer, "ApiServerGarbage"),
            (answer("500 Oops", b"not json"), Unavailable, "ApiServerAnswered500"),
            (answer("503 Busy", b'{"reason":"ServiceUnavailable"}'), Unavailable, "ServiceUnavailable"),
            (answer("429 Slow", b'{"reason":"TooManyRequests"}'), Unavailable, "TooManyRequests"),
            (answer("302 Found", b"", "Location: http://127.0.0.1:1/"), Unavailable, "ApiServerAnswered302"),
            (cut_short(b'{"kind":', length=100), Unavailable, "ApiServerUnreachable"),
            (hang_up, Unavailable, "ApiServerUnreachable"),
            (silence, Unavailable, "ApiServerUnreachable"),
        ],
    )  # fmt: skip
    def test_every_wrong_answer_is_one_of_our_errors(
        self, tmp_path: Path, behaviour: Behaviour, error: type[Exception], reason: str
    ) -> None:
        with serving(behaviour) as server:
            config = tmp_path / "config"
            config.write_text(kubeconfig(server.url))
            kube = KubeClient(
                Access.find(kubeconfig=config), user_agent="test", timeouts=Timeouts(connect=1.0, read=1.0)
            )
            with pytest.raises(error) as found:
                kube.get(NODES, "n1")
        assert getattr(found.value, "reason", "") == reason, found.value
        assert str(found.value).startswith("nodes n1: ")

    @pytest.mark.parametrize("body", [b"{}", b'{"items": 5, "metadata": {}}', b'{"items": []}'])
    def test_a_list_that_is_none_is_refused(self, tmp_path: Path, body: bytes) -> None:
        with serving(answer("200 OK", body)) as server:
            config = tmp_path / "config"
            config.write_text(kubeconfig(server.url))
            with pytest.raises(WrongAnswer, match="is not a list"):
                KubeClient(Access.find(kubeconfig=config), user_agent="test").list_all(
                    NODES, lambda found: found
                )

    def test_a_list_that_expires_again_and_again_is_given_up(self, tmp_path: Path) -> None:
        expired = answer("410 Gone", b'{"reason":"Expired"}')
        with serving(expired) as server:
            config = tmp_path / "config"
            config.write_text(kubeconfig(server.url))
            with pytest.raises(Unavailable, match="changed faster than it could be read"):
                KubeClient(Access.find(kubeconfig=config), user_agent="test").list_all(
                    NODES, lambda found: found
                )
            assert len(server.requests) == 3


class TestAccess:
    def test_a_token_file_that_is_rewritten_is_read_again(self, tmp_path: Path) -> None:
        token, config = tmp_path / "token", tmp_path / "config"
        token.write_text("first")
        text = json.loads(kubeconfig("http://127.0.0.1:1"))
        text["users"][0]["user"] = {"tokenFile": str(token)}
        config.write_text(json.dumps(text))
        assert Access.find(kubeconfig=config).connection().authorization == "Bearer first"

    def test_kubeconfig_from_the_environment_comes_before_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = tmp_path / "config"
        config.write_text(kubeconfig("http://127.0.0.1:7"))
        monkeypatch.setenv("KUBECONFIG", str(config))
        assert Access.find().connection().server == "http://127.0.0.1:7"

    @pytest.mark.parametrize("text", ["", "{}", "not: [yaml", '{"current-context": "nowhere"}'])
    def test_a_kubeconfig_that_cannot_be_used_is_named(self, tmp_path: Path, text: str) -> None:
        config = tmp_path / "config"
        config.write_text(text)
        with pytest.raises(InvalidInput, match=f"kubeconfig: {config} cannot be used"):
            Access.find(kubeconfig=config)

    def test_no_way_to_the_api_server_says_what_to_set(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(InvalidInput, match="set KUBECONFIG or --kubeconfig, or run in a pod"):
            Access.find()

    def test_a_pod_without_a_token_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        with pytest.raises(InvalidInput, match="the pod's service account cannot be used"):
            Access.find()

    def test_the_own_namespace_is_the_pods(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("POD_NAMESPACE", "here")
        assert own_namespace() == "here"

    def test_credentials_do_not_show_in_texts(self, tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text(kubeconfig("http://127.0.0.1:1", token="hidden"))
        assert "hidden" not in repr(Access.find(kubeconfig=config).connection())
