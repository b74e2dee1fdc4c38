"""Which namespaces may target which nodes and name which hosts."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.meta import LabelSelector
from edgecanary.api.rollout import RolloutSpec
from edgecanary.base.errors import InvalidInput, NotAllowed
from edgecanary.base.reach import LocalRule
from edgecanary.rollout.grants import NOWHERE, Allowance, What, parse_grants, refusal
from edgecanary.rollout.selector import matches

RULES = """
# Two tenants.
plant    nodes         tenant=plant
plant    prometheus    prometheus.plant:9090
plant    object-store  s3.eu-central-1.amazonaws.com
plant    download      *.models.example.com

lab-*    nodes         tenant=lab,site=hamburg
lab-*    nodes         tenant=lab,site=bremen
lab-*    secrets       labelled
lab-one  prometheus    *

*        contact       the platform team (#edge)
"""
SHA = "0" * 64


def allowance(namespace: str, rules: str = RULES) -> Allowance:
    return Allowance(namespace, LocalRule(loopback=False), parse_grants(rules).of(namespace))


def rollout(labels: dict[str, str], url: str = "", expressions: Sequence[object] = ()) -> RolloutSpec:
    analysis = {
        "prometheus": {"url": url},
        "metrics": [{"name": "e", "query": "x", "threshold": {"max": "1"}}],
    }
    body = {
        "modelRef": {"name": "pump"},
        "nodeSelector": {"matchLabels": labels, "matchExpressions": expressions},
        "strategy": {"steps": [{"name": "all", "percent": 100}]},
        **({"analysis": analysis} if url else {}),
    }
    return RolloutSpec.model_validate(body)


def model(*uris: str, golden: str = "", delta: str = "") -> EdgeModelSpec:
    files: list[dict[str, object]] = [
        {"path": f"f{number}", "uri": uri, "sha256": SHA, "sizeBytes": 1} for number, uri in enumerate(uris)
    ]
    if delta:
        files[0]["deltas"] = [
            {"fromSha256": "1" * 64, "format": "XorZstd", "uri": delta, "sha256": SHA, "sizeBytes": 1}
        ]
    body: dict[str, object] = {
        "version": "1",
        "variants": [{"name": "v", "format": "ONNX", "entrypoint": "f0", "files": files}],
        "io": {
            "inputs": [{"name": "x", "dtype": "FP32", "shape": [1]}],
            "outputs": [{"name": "y", "dtype": "FP32", "shape": [1]}],
        },
    }
    if golden:
        body["golden"] = {"uri": golden, "sha256": SHA, "sizeBytes": 1}
    return EdgeModelSpec.model_validate(body)


def refused(check: Callable[[], object]) -> NotAllowed:
    found = refusal(check)
    assert found is not None
    return found


def test_a_rollout_within_its_grant_is_allowed() -> None:
    allowance("plant").check_rollout(
        rollout({"tenant": "plant", "line": "2"}, "http://prometheus.plant:9090")
    )
    allowance("lab-one").check_rollout(
        rollout({"tenant": "lab", "site": "bremen"}, "https://anywhere.example")
    )


@pytest.mark.parametrize(
    "labels", [{}, {"tenant": "lab"}, {"tenant": "lab", "site": "hamburg"}, {"edge": "true"}, {"tenant": ""}]
)
def test_a_tenant_who_names_anothers_nodes_is_refused(labels: dict[str, str]) -> None:
    error = refused(lambda: allowance("plant").check_rollout(rollout(labels)))
    assert error.reason == "NotGranted"
    assert error.field == "spec.nodeSelector.matchLabels"
    assert "must carry tenant=plant, which namespace 'plant' is granted, got " in error.message
    assert error.message.endswith("; ask the platform team (#edge) for the rule 'plant nodes KEY=VALUE'")


def test_all_labels_of_one_grant_must_be_carried() -> None:
    error = refused(lambda: allowance("lab-two").check_rollout(rollout({"tenant": "lab", "site": "kiel"})))
    assert "must carry site=hamburg,tenant=lab or site=bremen,tenant=lab" in error.message


def test_expressions_are_no_substitute_for_the_labels() -> None:
    expressions = [{"key": "tenant", "operator": "In", "values": ["plant"]}]
    spec = rollout({}, expressions=expressions)
    assert refused(lambda: allowance("plant").check_rollout(spec)).reason == "NotGranted"


@given(
    labels=st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy")),
    wanted=st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1),
    node=st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy")),
)
def test_a_selector_that_is_allowed_matches_granted_nodes_only(
    labels: dict[str, str], wanted: dict[str, str], node: dict[str, str]
) -> None:
    rules = "t nodes " + ",".join(f"{key}={value}" for key, value in wanted.items())
    selector = LabelSelector(match_labels=labels)
    own = allowance("t", rules)
    if refusal(lambda: own.check_nodes(selector)) is None and matches(selector, node):
        assert refusal(lambda: own.check_labels(node)) is None


def test_a_namespace_without_a_grant_is_told_so() -> None:
    for check in (
        lambda: allowance("other").check_rollout(rollout({"tenant": "plant"})),
        lambda: allowance("other").check_model(model("s3://bucket/x")),
        lambda: allowance("other").check_labels({"tenant": "plant"}),
    ):
        error = refused(check)
        assert error.reason == "NotGranted"
        assert "namespace 'other' has no grant: no rule names it; ask the platform team" in error.message


@pytest.mark.parametrize("namespace", ["lab", "labour", "xlab-one", "plant2", "plan", "PLANT"])
def test_a_rule_is_for_the_namespaces_that_it_names(namespace: str) -> None:
    assert allowance(namespace).granted == parse_grants("* contact the platform team (#edge)")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://prometheus.plant:9091", "NotGranted"),
        ("http://prometheus.lab:9090", "NotGranted"),
        ("http://169.254.169.254", "NotGranted"),
        ("http://prometheus.plant:9090.evil.example", "HostInvalid"),
        ("http://2130706433:9090", "HostInvalid"),
    ],
)
def test_a_prometheus_that_is_not_granted_is_refused(url: str, reason: str) -> None:
    error = refused(lambda: allowance("plant").check_rollout(rollout({"tenant": "plant"}, url)))
    assert (error.reason, error.field) == (reason, "spec.analysis.prometheus.url")


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:9090"])
def test_a_grant_of_every_host_is_none_of_the_machines_own(url: str) -> None:
    error = refused(
        lambda: allowance("lab-one").check_rollout(rollout({"tenant": "lab", "site": "bremen"}, url))
    )
    assert error.reason == "AddressRefused"


def test_every_address_in_a_model_is_looked_at() -> None:
    own, good, bad = allowance("plant"), "https://a.models.example.com/x", "https://models.example.com/x"
    own.check_model(model(good, "s3://bucket/x", golden=good, delta=good))
    places = {
        "spec.variants[0].files[1].uri": model(good, bad),
        "spec.golden.uri": model(good, golden=bad),
        "spec.variants[0].files[0].deltas[0].uri": model(good, delta=bad),
    }
    for field, spec in places.items():
        error = refused(lambda spec=spec: own.check_model(spec))  # type: ignore[misc] # bound now
        assert (error.field, error.reason) == (field, "NotGranted")
        assert "models.example.com:443 is not granted to namespace 'plant' as download" in error.message


def test_a_buckets_name_may_stand_before_a_store() -> None:
    stores = allowance("plant").reach(What.OBJECT_STORE)
    stores.check("https://s3.eu-central-1.amazonaws.com/bucket/x")
    stores.check("https://bucket.s3.eu-central-1.amazonaws.com/x")
    assert refused(lambda: stores.check("https://s3.eu-west-1.amazonaws.com/x")).reason == "NotGranted"
    assert refused(lambda: stores.check("https://a.models.example.com/x")).reason == "NotGranted"
    allowance("plant").node_reach().check("https://a.models.example.com/x")
    allowance("plant").node_reach().check("https://bucket.s3.eu-central-1.amazonaws.com/x")


@pytest.mark.parametrize(
    "kind",
    [
        "kubernetes.io/service-account-token",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/tls",
        "bootstrap.kubernetes.io/token",
        "helm.sh/release.v1",
    ],
)
def test_secrets_whose_content_is_for_others_are_never_read(kind: str) -> None:
    error = refused(lambda: Allowance().check_secret("sa", kind, {}))
    assert error.reason == "SecretRefused"
    assert kind in error.message


def test_secrets_must_carry_the_label_where_the_administrator_says_so() -> None:
    for kind in ("Opaque", "kubernetes.io/basic-auth", "", "example.com/keys"):
        allowance("plant").check_secret("keys", kind, {})
    label = "edgecanary.dev/credentials"
    allowance("lab-one").check_secret("keys", "Opaque", {label: "yes"})
    error = refused(lambda: allowance("lab-one").check_secret("keys", "Opaque", {}))
    assert f"must carry the label {label}" in error.message


def test_without_rules_nothing_is_divided() -> None:
    alone = Allowance("any")
    alone.check_rollout(rollout({}, "http://prometheus.any:9090"))
    alone.check_model(model("https://models.example.com/x"))
    alone.check_labels({})
    assert not alone.is_divided


def test_rules_that_cannot_be_read_allow_nothing() -> None:
    broken = Allowance("plant", problem="the rules cannot be read")
    for check in (
        lambda: broken.check_rollout(rollout({"tenant": "plant"})),
        lambda: broken.check_model(model("s3://bucket/x")),
        lambda: broken.check_labels({"tenant": "plant"}),
        lambda: broken.reach(What.PROMETHEUS).check("http://prometheus.plant"),
    ):
        assert refused(check).reason == "GrantsUnreadable"
    assert broken.is_divided


def test_a_rule_of_all_nodes_is_written_with_a_star() -> None:
    allowance("ops", "ops nodes *").check_rollout(rollout({}))
    allowance("ops", "ops nodes *").check_labels({})


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("plant nodes", "must be NAMESPACE WHAT VALUE"),
        ("plant", "must be NAMESPACE WHAT VALUE"),
        ("Plant nodes a=b", "must begin with a namespace"),
        ("pl*nt nodes a=b", "must begin with a namespace"),
        ("plant,lab nodes a=b", "must begin with a namespace"),
        ("plant node a=b", "must name one of nodes, prometheus, object-store, download, secrets, contact"),
        ("plant nodes a", "must name labels as key=value"),
        ("plant nodes a=b, c=d", "must name labels as key=value"),
        ("plant nodes a=b,a=c", "each key once"),
        ("plant contact a\u2028plant nodes *", "must hold printable characters"),
        ("plant nodes =b", "must name labels as key=value"),
        ("plant prometheus a b", "must name one host"),
        ("plant prometheus http://a", "must be a host"),
        ("plant download 127.1", "must spell an IPv4 address"),
        ("plant secrets any", "must have the value labelled"),
    ],
)
def test_a_line_that_is_no_rule_is_named_and_nothing_is_read(line: str, rule: str) -> None:
    with pytest.raises(InvalidInput, match=r"^line 3: ") as caught:
        parse_grants(f"plant nodes tenant=plant\n# a remark\n{line}\n")
    assert rule in caught.value.message
    assert caught.value.reason == "GrantInvalid"


@given(st.text(alphabet="ab *=,.#-:\n\tnodesprometheus", max_size=60))
def test_any_text_is_read_or_refused_in_order(text: str) -> None:
    try:
        found = parse_grants(text)
    except InvalidInput:
        return
    assert len(found.rules) <= len(text.splitlines())


@given(st.dictionaries(st.text("abc/", max_size=3), st.text("abc", max_size=2)))
def test_nowhere_matches_no_node(labels: dict[str, str]) -> None:
    assert not matches(NOWHERE, labels)
    assert not matches(NOWHERE, {**labels, "edgecanary.dev/nowhere": ""})
