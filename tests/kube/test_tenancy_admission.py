"""config/tenancy on a real API server: what a tenant may write, and what is said otherwise."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import pytest

from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import RolloutSpec
from edgecanary.base.errors import NotAllowed
from edgecanary.base.reach import LocalRule
from edgecanary.clients.resources import EDGE_MODELS, MODEL_RELEASES, ROLLOUTS, Resource
from edgecanary.rollout.grants import Allowance, parse_grants, refusal
from edgelab.controlplane import ControlPlane
from edgelab.errors import ApiError
from tests.kube.tenancy_lab import (
    ADMISSION,
    CONFIG_MAP,
    KINDS,
    Governed,
    governed,
    policies,
    until_true,
)
from tests.unit.docs.pages import blocks, manifests, page

RULES = """\
# NAMESPACE  WHAT          VALUE
plant-*\tnodes         tenant=plant
plant-*      nodes         tenant=spare,line=2
plant-*      prometheus    Prometheus.plant:9090
plant-*      prometheus    *.metrics.example.com
plant-*      prometheus    [fd00::1]:9090
plant-*      download      *.models.example.com
plant-*      download      files.example.com:8443
open-*       nodes         *
open-*       prometheus    *
open-*       download      *:443
*            contact       the platform team (#edge)
this is no rule
# plant-*    nodes         tenant=lab
"""
SHA = "0" * 64


@pytest.fixture(scope="module")
def tenants(control_plane: ControlPlane) -> Iterator[Governed]:
    with governed(control_plane) as found:
        found.rule(RULES)
        yield found


@pytest.fixture(scope="module")
def plant(tenants: Governed) -> str:
    return tenants.namespace("plant")


def rollout(labels: Mapping[str, str], url: str = "", **more: object) -> JsonObject:
    analysis = {
        "prometheus": {"url": url},
        "metrics": [{"name": "e", "query": "x", "threshold": {"max": "1"}}],
    }
    spec = {
        "modelRef": {"name": "m"},
        "nodeSelector": {"matchLabels": labels},
        "strategy": {"steps": [{"name": "all", "percent": 100}]},
        **({"analysis": analysis} if url else {}),
        **more,
    }
    return cast("JsonObject", spec)


def model(*uris: str, variants: int = 1, **more: object) -> JsonObject:
    files = [{"path": f"f{n}", "uri": uri, "sha256": SHA, "sizeBytes": 100} for n, uri in enumerate(uris)]
    spec = {
        "version": "1",
        "variants": [
            {"name": f"v{n}", "format": "ONNX", "entrypoint": "f0", "files": files} for n in range(variants)
        ],
        "io": {
            "inputs": [{"name": "x", "dtype": "FP32", "shape": [1]}],
            "outputs": [{"name": "y", "dtype": "FP32", "shape": [1]}],
        },
        **more,
    }
    return cast("JsonObject", spec)


def write(plane: ControlPlane, namespace: str, resource: Resource, spec: JsonObject, name: str = "") -> str:
    name = name or f"x-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    plane.admin.create(resource.path(namespace=namespace), body)
    return name


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(ApiError) as caught:
        action()
    assert caught.value.status in (403, 422)
    return str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        rollout({"tenant": "plant"}),
        rollout({"tenant": "plant", "line": "7"}, "http://prometheus.plant:9090"),
        rollout({"tenant": "spare", "line": "2"}, "https://a.metrics.example.com/prom"),
        rollout({"tenant": "plant"}, "http://PROMETHEUS.plant.:9090/x"),
        rollout({"tenant": "plant"}, "http://[fd00::1]:9090"),
    ],
)
def test_a_rollout_within_its_grant_is_taken(tenants: Governed, plant: str, spec: JsonObject) -> None:
    write(tenants.plane, plant, ROLLOUTS, spec)


@pytest.mark.parametrize(
    "labels", [{}, {"tenant": "lab"}, {"line": "2"}, {"tenant": "spare"}, {"tenant": "spare", "line": "3"}]
)
def test_a_tenant_who_names_anothers_nodes_is_refused(
    tenants: Governed, plant: str, labels: dict[str, str]
) -> None:
    told = refused(lambda: write(tenants.plane, plant, ROLLOUTS, rollout(labels)))
    shown = ",".join(f"{key}={value}" for key, value in labels.items()) or "no labels"
    assert (
        "NotGranted: spec.nodeSelector.matchLabels: must carry tenant=plant or tenant=spare,line=2, "
        f"which namespace '{plant}' is granted, got "
    ) in told
    assert shown in told or len(labels) > 1
    assert f"ask the platform team (#edge) for the rule '{plant} nodes KEY=VALUE'" in told


def test_a_selector_with_expressions_alone_is_refused(tenants: Governed, plant: str) -> None:
    selector = {"matchExpressions": [{"key": "tenant", "operator": "In", "values": ["plant"]}]}
    spec = rollout({}, nodeSelector=selector)
    assert "must carry" in refused(lambda: write(tenants.plane, plant, ROLLOUTS, spec))


def test_a_rollout_without_a_selector_is_refused(tenants: Governed, plant: str) -> None:
    spec = {key: value for key, value in rollout({}).items() if key != "nodeSelector"}
    assert "must carry" in refused(lambda: write(tenants.plane, plant, ROLLOUTS, spec))


URLS = [
    "http://prometheus.plant:9091",
    "http://prometheus.plant",
    "http://prometheus.lab:9090",
    "http://169.254.169.254",
    "http://[fd00:ec2::254]",
    "http://127.0.0.1:9090",
    "http://localhost:9090",
    "http://2130706433:9090",
    "http://0x7f.1:9090",
    "http://[::ffff:169.254.169.254]/latest",
    "http://metrics.example.com",
    "http://evilmetrics.example.com",
    "http://prometheus.plant:9090.evil.example",
    "http://prometheus.plant%2eevil.example:9090",
    "http://evil.example\\.metrics.example.com",
    "http://prometheus.plant\\.evil.example:9090",
    "http://evil.example/http://prometheus.plant:9090",
    "http://user:pass@prometheus.plant:9090",
    "http://prometheus.plant:9090@169.254.169.254",
    "http://\uff11\uff12\uff17.0.0.1:9090",
    "http://prometheus.plant。evil.example:9090",
    "http:///prometheus.plant:9090",
]


@pytest.mark.parametrize("url", URLS)
def test_a_prometheus_that_is_not_granted_is_refused(tenants: Governed, plant: str, url: str) -> None:
    refused(lambda: write(tenants.plane, plant, ROLLOUTS, rollout({"tenant": "plant"}, url)))


def test_the_refusal_of_a_prometheus_names_it_and_what_is_granted(tenants: Governed, plant: str) -> None:
    spec = rollout({"tenant": "plant"}, "http://169.254.169.254/latest")
    assert (
        "NotGranted: spec.analysis.prometheus.url: 169.254.169.254:80 is not granted to namespace "
        f"'{plant}' as prometheus (granted: Prometheus.plant:9090, *.metrics.example.com, [fd00::1]:9090); "
        f"ask the platform team (#edge) for the rule '{plant} prometheus HOST'"
    ) in refused(lambda: write(tenants.plane, plant, ROLLOUTS, spec))


@pytest.mark.parametrize("resource", [ROLLOUTS, EDGE_MODELS])
def test_a_namespace_without_a_grant_is_told_so(tenants: Governed, resource: Resource) -> None:
    namespace = tenants.namespace("other")
    spec = rollout({"tenant": "plant"}) if resource is ROLLOUTS else model("s3://bucket/x")
    assert (
        f"NotGranted: namespace '{namespace}' has no grant: no rule names it; "
        f"ask the platform team (#edge) for the rule '{namespace} nodes KEY=VALUE'"
    ) in refused(lambda: write(tenants.plane, namespace, resource, spec))


def test_a_star_grants_every_node_and_host(tenants: Governed) -> None:
    namespace = tenants.namespace("open")
    write(tenants.plane, namespace, ROLLOUTS, rollout({}, "http://anywhere.example:1234"))
    write(tenants.plane, namespace, EDGE_MODELS, model("https://anywhere.example/x"))
    told = refused(
        lambda: write(tenants.plane, namespace, EDGE_MODELS, model("https://anywhere.example:8443/x"))
    )
    assert "anywhere.example:8443 is not granted" in told


def test_a_model_within_its_grant_is_taken(tenants: Governed, plant: str) -> None:
    good = "https://A.models.example.com/x"
    golden = {"uri": "https://files.example.com:8443/g", "sha256": SHA, "sizeBytes": 1}
    write(tenants.plane, plant, EDGE_MODELS, model("s3://bucket/x", good, golden=golden))


@pytest.mark.parametrize(
    "uri",
    [
        "https://models.example.com/x",
        "https://a.models.example.com.evil.example/x",
        "https://files.example.com/x",
        "https://169.254.169.254/x",
        "https://evil.example/a.models.example.com/x",
        "https://evil.example:443/x",
        "https://evil.example\\.models.example.com/x",
    ],
)
def test_a_download_host_that_is_not_granted_is_refused_wherever_it_stands(
    tenants: Governed, plant: str, uri: str
) -> None:
    good = "https://a.models.example.com/x"
    extra = {"uri": uri, "sha256": SHA, "sizeBytes": 1}
    delta = {**extra, "fromSha256": "1" * 64, "format": "XorZstd"}
    with_delta = model(good)
    cast("list[dict[str, object]]", cast("list[dict[str, object]]", with_delta["variants"])[0]["files"])[0][
        "deltas"
    ] = [delta]
    for spec in (model(good, uri), model(good, golden=extra), model(good, profile=extra), with_delta):
        told = refused(lambda spec=spec: write(tenants.plane, plant, EDGE_MODELS, spec))  # type: ignore[misc] # bound now
        assert "NotGranted: spec.variants: " in told
        assert f"is not granted to namespace '{plant}' as download" in told


def test_the_largest_model_with_many_rules_is_judged_within_the_servers_budget(tenants: Governed) -> None:
    many = "".join(f"plant-* download host-{number}.example.com\n" for number in range(200))
    tenants.rule(many + "plant-* nodes a=b\n" + "".join(f"t{n} nodes tenant=t{n}\n" for n in range(500)))
    try:
        namespace = tenants.namespace("plant")
        uris = [f"https://host-{number * 6}.example.com/{'x' * 60}/{number}" for number in range(32)]
        write(tenants.plane, namespace, EDGE_MODELS, model(*uris, variants=16))
        told = refused(
            lambda: write(
                tenants.plane, namespace, EDGE_MODELS, model(*uris[1:], "https://evil.example/x", variants=16)
            )
        )
        assert "evil.example:443 is not granted" in told
    finally:
        tenants.rule(RULES)


def test_what_was_taken_before_can_be_paused_and_aborted_after_its_grant_is_gone(tenants: Governed) -> None:
    namespace = tenants.namespace("plant")
    name = write(
        tenants.plane, namespace, ROLLOUTS, rollout({"tenant": "plant"}, "http://prometheus.plant:9090")
    )
    em = write(tenants.plane, namespace, EDGE_MODELS, model("https://a.models.example.com/x"))
    path = ROLLOUTS.path(namespace=namespace, name=name)
    tenants.rule("other nodes *\n")
    try:
        tenants.plane.admin.patch(path, {"metadata": {"annotations": {"edgecanary.dev/abort": "1"}}})
        tenants.plane.admin.patch(path, {"spec": {"paused": True}})
        tenants.plane.admin.patch(
            EDGE_MODELS.path(namespace=namespace, name=em), {"metadata": {"labels": {"a": "b"}}}
        )
        tenants.plane.admin.patch(f"{path}/status", {"status": {"observedGeneration": 1}})
        wider = {"spec": {"nodeSelector": {"matchLabels": {"tenant": "lab"}}}}
        assert "has no grant" in refused(lambda: tenants.plane.admin.patch(path, wider))
    finally:
        tenants.rule(RULES)
    assert "must carry" in refused(
        lambda: tenants.plane.admin.patch(path, {"spec": {"nodeSelector": {"matchLabels": {"tenant": None}}}})
    )
    elsewhere = {"spec": {"analysis": {"prometheus": {"url": "http://evil.example"}}}}
    assert "evil.example:80 is not granted" in refused(lambda: tenants.plane.admin.patch(path, elsewhere))


def test_without_the_rules_nothing_is_taken(tenants: Governed) -> None:
    namespace = tenants.namespace("plant")
    tenants.plane.admin.delete(f"{CONFIG_MAP}/edgecanary-tenancy")
    try:
        until_true(lambda: _is_refused(tenants, namespace))
    finally:
        tenants.rule(RULES)
    write(tenants.plane, namespace, ROLLOUTS, rollout({"tenant": "plant"}))


def _is_refused(tenants: Governed, namespace: str) -> bool:
    try:
        write(tenants.plane, namespace, ROLLOUTS, rollout({"tenant": "plant"}))
    except ApiError as error:
        return error.status in (403, 422)
    return False


def test_only_who_may_write_releases_everywhere_writes_one(tenants: Governed, plant: str) -> None:
    plane = tenants.plane
    role = f"tenant-{uuid.uuid4().hex[:8]}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{plant}"
    everything = {"apiGroups": ["edgecanary.dev"], "resources": ["*"], "verbs": ["*"]}
    plane.admin.create(f"{rbac}/roles", {"metadata": {"name": role}, "rules": [everything]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant"}
    plane.admin.create(
        f"{rbac}/rolebindings", {"metadata": {"name": role}, "roleRef": reference, "subjects": [subject]}
    )
    body = {
        "apiVersion": MODEL_RELEASES.api_version,
        "kind": MODEL_RELEASES.kind,
        "metadata": {"name": "forged"},
        "spec": {"model": "m", "sequence": 1},
    }
    path = MODEL_RELEASES.path(namespace=plant)
    tenant = plane.client("tenant")
    until_true(lambda: bool(tenant.get(path)))
    assert "a ModelRelease must be written by the operator" in refused(lambda: tenant.create(path, body))
    plane.admin.create(path, body)
    told = refused(lambda: tenant.patch(f"{path}/forged", {"spec": {"sequence": 2}}))
    assert "must be written by the operator" in told


@pytest.mark.parametrize("url", [*URLS, "http://prometheus.plant:9090", "https://a.metrics.example.com/prom"])
@pytest.mark.parametrize("labels", [{"tenant": "plant"}, {"tenant": "lab"}])
def test_the_operator_comes_to_the_same_answer(url: str, labels: dict[str, str]) -> None:
    good = url in ("http://prometheus.plant:9090", "https://a.metrics.example.com/prom")
    rules = "".join(line + "\n" for line in RULES.splitlines() if not line.startswith("this"))
    own = Allowance("plant-1", LocalRule(loopback=False), parse_grants(rules).of("plant-1"))
    spec = RolloutSpec.model_construct(**RolloutSpec.model_validate(rollout(labels, "http://x")).__dict__)
    analysis = spec.analysis
    assert analysis is not None
    source = analysis.prometheus.model_copy(update={"url": url})
    spec = spec.model_copy(update={"analysis": analysis.model_copy(update={"prometheus": source})})
    found = refusal(lambda: own.check_rollout(spec))
    assert (found is None) is (good and labels["tenant"] == "plant")
    assert found is None or isinstance(found, NotAllowed)


def test_the_guides_two_tenants_get_the_answers_that_it_shows(tenants: Governed) -> None:
    """In namespaces of this test's own, since others use the names of the guides too."""
    plant, lab = tenants.namespace("plant"), tenants.namespace("lab")

    def renamed(text: str) -> str:
        return text.replace("lab-vision", lab).replace("plant", plant)

    rules, taken, curious = json.loads(renamed(json.dumps(manifests("docs/guides/tenancy.md"))))
    tenants.rule(rules["data"]["rules"])
    try:
        tenants.plane.admin.create(ROLLOUTS.path(namespace=plant), taken)
        told = refused(lambda: tenants.plane.admin.create(ROLLOUTS.path(namespace=lab), curious))
    finally:
        for name in (plant, lab):
            tenants.plane.delete_namespace(name)
        tenants.rule(RULES)
    (shown,) = blocks(page("docs/guides/tenancy.md"), "text")
    assert " ".join(renamed(shown).split()) in told


def test_no_expression_of_the_policies_has_a_type_error(tenants: Governed) -> None:
    for body in policies():
        if body["kind"] != "ValidatingAdmissionPolicy":
            continue
        found = tenants.plane.admin.get(f"{ADMISSION}/{KINDS[body['kind']]}/{body['metadata']['name']}")
        checking = (found.get("status") or {}).get("typeChecking") or {}
        assert not checking.get("expressionWarnings")
