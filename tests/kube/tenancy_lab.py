"""config/tenancy on the session's API server, for namespaces with a label of their own."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import yaml

from edgelab.api import JsonObject
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from edgelab.paths import ROOT

SYSTEM = "edgecanary-system"
CONFIG_MAP = f"/api/v1/namespaces/{SYSTEM}/configmaps"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
LABEL = "tenancy.test/governed"
KINDS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


def policies() -> list[JsonObject]:
    """The policies and bindings as they are shipped."""
    found: list[JsonObject] = []
    for path in sorted((ROOT / "config" / "tenancy").glob("*.yaml")):
        found += [body for body in yaml.safe_load_all(path.read_text()) if body and body["kind"] in KINDS]
    return found


@dataclass
class Governed:
    """Namespaces that the policies are about."""

    plane: ControlPlane

    def namespace(self, prefix: str = "plant") -> str:
        """A new namespace whose name begins so."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        body = {"metadata": {"name": name, "labels": {LABEL: "yes"}}}
        self.plane.admin.create("/api/v1/namespaces", body)
        return name

    def rule(self, text: str) -> None:
        """Puts the rules in place and waits until the API server goes by them."""
        mark = uuid.uuid4().hex
        contact = f"* contact {mark}"
        self._put(f"{contact}\n{text}")
        probe = self.namespace("probe")
        until_true(lambda: mark in _refusal_of_probe(self.plane, probe))
        self._put(text)
        until_true(lambda: mark not in _refusal_of_probe(self.plane, probe))
        self.plane.delete_namespace(probe)

    def _put(self, text: str) -> None:
        body: JsonObject = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "edgecanary-tenancy"},
            "data": {"rules": text},
        }
        with contextlib.suppress(ApiError):
            self.plane.admin.create(CONFIG_MAP, body)
        self.plane.admin.patch(f"{CONFIG_MAP}/edgecanary-tenancy", {"data": {"rules": text}})


def until_true(condition: Callable[[], bool]) -> None:
    """Waits for what happens a moment later."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the policies were applied and never held"
        time.sleep(0.05)


def _refusal_of_probe(plane: ControlPlane, namespace: str) -> str:
    body = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": f"probe-{uuid.uuid4().hex[:8]}"},
        "spec": {"modelRef": {"name": "m"}, "strategy": {"steps": [{"name": "all", "percent": 100}]}},
    }
    try:
        plane.admin.create(f"/apis/edgecanary.dev/v1alpha1/namespaces/{namespace}/rollouts", body)
    except ApiError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def governed(plane: ControlPlane) -> Iterator[Governed]:
    """Applies the policies, narrowed to labelled namespaces; other tests share the API server."""
    with contextlib.suppress(ApiError):
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": SYSTEM}})
    bodies = policies()
    for body in bodies:
        if body["kind"].endswith("Binding"):
            body["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {LABEL: "yes"}}}
        plane.admin.create(f"{ADMISSION}/{KINDS[body['kind']]}", body)
    try:
        yield Governed(plane)
    finally:
        for body in reversed(bodies):
            plane.admin.delete(f"{ADMISSION}/{KINDS[body['kind']]}/{body['metadata']['name']}")
        with contextlib.suppress(ApiError):
            plane.admin.delete(f"{CONFIG_MAP}/edgecanary-tenancy")
