"""The chart's ServiceMonitor, PodMonitor and PrometheusRules are what the Prometheus Operator's types say."""

import json
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgelab import tools
from edgelab.api import JsonObject as Manifest
from edgelab.helm import CHART, Helm, documents
from tests.kube.chart_monitors import NEEDS_GO, check, check_items

pytestmark = NEEDS_GO

PROFILES = tuple(yaml.safe_load((CHART / "files" / "profiles.yaml").read_text()))
PARTS = ("serviceMonitor", "podMonitor", "prometheusRule")
ALERTS = sorted(f"PrometheusRule/edgecanary-{file.stem}" for file in (CHART / "files" / "alerts").iterdir())
ALL = ["ServiceMonitor/edgecanary-operator", "PodMonitor/edgecanary-agent", *ALERTS]

# YAML reads each as something else when it is not quoted.
LABELS: JsonObject = {
    "release": "1",
    "on": "yes",
    "team": "null",
    "since": "2026-01-01",
    "size": "1e3",
    "empty": "",
}
OPTIONS: dict[str, JsonObject] = {
    "serviceMonitor": {"labels": LABELS, "interval": "99999s"},
    "podMonitor": {"labels": LABELS, "interval": "1h"},
    "prometheusRule": {"labels": LABELS},
}


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


def render(helm: Helm, profile: str, options: dict[str, JsonObject], **more: object) -> str:
    """helm's own text of the three templates, all of them on."""
    on = {part: {"enabled": True, **options.get(part, {})} for part in PARTS}
    only = [f"--show-only=templates/monitoring/{part.lower()}.yaml" for part in PARTS]
    return helm.template(values={"agent": {"profile": profile}, "monitoring": on, **more}, flags=only)


@pytest.fixture(scope="module")
def good(helm: Helm) -> dict[str, Manifest]:
    """One of each kind, as it is rendered."""
    return {item["kind"]: item for item in documents(render(helm, "generic", {}))}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_operators_types_take_what_each_profile_renders(helm: Helm, profile: str) -> None:
    verdict = check(render(helm, profile, {}))
    assert verdict.refused == []
    assert sorted(verdict.accepted) == sorted(ALL)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_operators_types_take_every_option(helm: Helm, profile: str) -> None:
    verdict = check(render(helm, profile, OPTIONS, commonLabels=LABELS))
    assert verdict.refused == []
    assert sorted(verdict.accepted) == sorted(ALL)


Keys = tuple[str | int, ...]
ENDPOINT: Keys = ("spec", "endpoints", 0)
POD_ENDPOINT: Keys = ("spec", "podMetricsEndpoints", 0)
RULE: Keys = ("spec", "groups", 0, "rules", 0)


def changed(item: Manifest, path: Keys, value: object) -> Manifest:
    """The object with one value put in."""
    copy = deepcopy(item)
    place: Manifest = copy
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    return copy


@pytest.mark.parametrize(
    ("kind", "path", "told"),
    [
        ("ServiceMonitor", (*ENDPOINT, "intervall"), "spec.endpoints[0].intervall"),
        ("ServiceMonitor", ("spec", "namespaceselector"), "spec.namespaceselector"),
        ("ServiceMonitor", ("metadata", "label"), "metadata.label"),
        ("PodMonitor", (*POD_ENDPOINT, "HonorLabels"), "spec.podMetricsEndpoints[0].HonorLabels"),
        ("PodMonitor", ("spec", "endpoints"), "spec.endpoints"),
        (
            "PodMonitor",
            (*POD_ENDPOINT, "relabelings", 1, "target"),
            "spec.podMetricsEndpoints[0].relabelings[1].target",
        ),
        ("PrometheusRule", (*RULE, "expression"), "spec.groups[0].rules[0].expression"),
        ("PrometheusRule", ("spec", "group"), "spec.group"),
    ],
)
def test_a_field_that_the_type_lacks_is_refused_and_named(
    good: dict[str, Manifest], kind: str, path: Keys, told: str
) -> None:
    item = changed(good[kind], path, "x")
    assert check_items([item]).refused == [f'stdin/{kind}/{item["metadata"]["name"]}: unknown field "{told}"']


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("ServiceMonitor", (*ENDPOINT, "interval"), 30, "number into Go struct field Endpoint.spec.endpoints.interval"),
        ("ServiceMonitor", (*ENDPOINT, "honorLabels"), "true", "spec.endpoints.honorLabels of type bool"),
        ("ServiceMonitor", ENDPOINT[:-1], {"port": "metrics"}, "object into Go struct field"),
        ("PodMonitor", (*POD_ENDPOINT, "relabelings", 1, "sourceLabels"), "node", "relabelings.sourceLabels of type"),
        ("PodMonitor", ("spec", "selector", "matchLabels", "one"), 1, "spec.selector.matchLabels of type string"),
        ("PrometheusRule", (*RULE, "for"), 5, "spec.groups.rules.for of type v1.Duration"),
        ("PrometheusRule", (*RULE, "labels", "severity"), True, "spec.groups.rules.labels of type string"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_and_named(
    good: dict[str, Manifest], kind: str, path: Keys, value: object, told: str
) -> None:
    item = changed(good[kind], path, value)
    (refused,) = check_items([item]).refused
    assert refused.startswith(f"stdin/{kind}/{item['metadata']['name']}: json: cannot unmarshal ")
    assert told in refused


def test_one_wrong_document_does_not_hide_the_others(good: dict[str, Manifest]) -> None:
    wrong = changed(good["PodMonitor"], ("spec", "x"), 1)
    verdict = check_items([good["ServiceMonitor"], wrong, good["PrometheusRule"]])
    assert verdict.refused == ['stdin/PodMonitor/edgecanary-agent: unknown field "spec.x"']
    assert [name.partition("/")[0] for name in verdict.accepted] == ["ServiceMonitor", "PrometheusRule"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# nothing but a comment\n---\n", "stdin: no document"),
        ("spec: [", "stdin/document 1: yaml: "),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}", 'stdin/ConfigMap/a: no kind "ConfigMap"'),
        ("kind: Probes\napiVersion: monitoring.coreos.com/v1", 'stdin/Probes/: no kind "Probes"'),
        ("kind: PodMonitor\napiVersion: monitoring.coreos.com/v2", 'stdin/PodMonitor/: no kind "PodMonitor"'),
    ],
)
def test_what_is_no_document_of_the_operators_is_refused(text: str, told: str) -> None:
    assert check(text).refused[0].startswith(told)


def test_a_field_given_twice_is_refused(helm: Helm) -> None:
    text = render(helm, "generic", {}).replace(
        "honorLabels: true", "honorLabels: true\n      honorLabels: true"
    )
    assert 'key "honorLabels" already set in map' in "\n".join(check(text).refused)


def test_files_are_read_by_name(good: dict[str, Manifest], tmp_path: Path) -> None:
    right, wrong, none = tmp_path / "right.json", tmp_path / "wrong.json", tmp_path / "none.json"
    right.write_text(json.dumps(good["PodMonitor"]))
    wrong.write_text(json.dumps(changed(good["PodMonitor"], ("spec", "x"), 1)))
    command = [tools.check_monitors(), right, none, wrong]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == f"{right}/PodMonitor/edgecanary-agent: accepted\n"
    assert result.stderr.splitlines() == [
        f"open {none}: no such file or directory",
        f'{wrong}/PodMonitor/edgecanary-agent: unknown field "spec.x"',
    ]
