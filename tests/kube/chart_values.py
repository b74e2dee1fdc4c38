"""Random values of the chart: whatever its schema allows, and one thing that it does not."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from edgecanary.api.fields import JsonObject
from edgelab.helm import CHART

SCHEMA: JsonObject = json.loads((CHART / "values.schema.json").read_text())
Keys = tuple[str, ...]

# Passed on to Kubernetes as it is: for these the schema says less than the API server.
GIVEN: Mapping[str, list[object]] = {
    "affinity": [
        {},
        {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
                ]
            }
        },
    ],
    "volumes": [[], [{"name": "extra", "emptyDir": {}}], [{"name": "extra", "configMap": {"name": "c"}}]],
    "volumeMounts": [[]],
    "env": [
        [],
        [{"name": "TZ", "value": "UTC"}],
        [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
    ],
    "topologySpreadConstraints": [[], [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]],
    "toleration": [
        {"operator": "Exists"},
        {"key": "edge", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "edge", "operator": "Equal", "value": "1", "effect": "NoExecute", "tolerationSeconds": 60},
    ],
    "peers": [[], [{"podSelector": {}}], [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]],
    "operatorEgress": [None, [], [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]],
    "resources": [
        {},
        {"requests": {"cpu": "10m"}, "limits": {"cpu": 2, "memory": "1.5Gi", "ephemeral-storage": "1Gi"}},
    ],
    "global": [{}],
}  # fmt: skip


@dataclass(frozen=True)
class Wrong:
    """A value that the schema refuses, and where it stands in the values."""

    keys: Keys
    value: object

    @property
    def values(self) -> JsonObject:
        """Values with nothing but this one."""
        found: object = self.value
        for key in reversed(self.keys):
            found = {key: found}
        assert isinstance(found, dict)
        return found


def valid() -> SearchStrategy[JsonObject]:
    """Values that the schema and the chart's own rules allow."""
    return _of(SCHEMA, "").map(lambda values: _by_the_rules(_dict(values)))


def wrong() -> SearchStrategy[Wrong]:
    """One value of a wrong type, beyond a bound, or of a name that does not exist."""
    choices = [
        st.builds(Wrong, st.just(keys), value) for keys, node in _places(SCHEMA) for value in _refused(node)
    ]
    return st.one_of(choices)


def _by_the_rules(values: JsonObject) -> JsonObject:
    """What a schema cannot say: one value that depends on another."""
    operator = _group(values, "operator")
    if operator.get("leaderElection") == {"enabled": False}:
        operator["replicas"] = 1
    agent = _group(values, "agent")
    agent.pop("listen", None)
    if agent.get("hostNetwork") is False:
        agent["listen"] = ":9010"
    if not _group(agent, "trust").get("configMap"):
        _group(agent, "settings").pop("trustThreshold", None)
    _group(values, "namespace").pop("labels", None)
    for unnamed in ("nameOverride", "fullnameOverride"):
        values.pop(unnamed, None)
    return values


def _group(values: JsonObject, name: str) -> JsonObject:
    group = values.setdefault(name, {})
    assert isinstance(group, dict)
    return group


def _of(node: JsonObject, name: str) -> SearchStrategy[object]:
    ref = str(node.get("$ref", "")).rpartition("/")[2]
    if given := GIVEN.get(name) or GIVEN.get(ref):
        return st.sampled_from(given)
    node = _resolved(node)
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(_list(node["enum"]))
    if "anyOf" in node:
        return st.one_of([_of(_dict(choice), name) for choice in _list(node["anyOf"])])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    return st.one_of([_of_kind(node, str(kind)) for kind in kinds])


def _of_kind(node: JsonObject, kind: str) -> SearchStrategy[object]:
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(_number(node["minimum"]), _number(node["maximum"]))
        case "number":
            least = _number(node.get("minimum", node.get("exclusiveMinimum", 0)))
            found = st.floats(least, _number(node["maximum"])) | st.integers(
                least + 1, _number(node["maximum"])
            )
            return found.filter(lambda value: value != node.get("exclusiveMinimum"))
        case "string":
            most = _number(node.get("maxLength", 20))
            text = st.from_regex(str(node.get("pattern", "^[a-z]*$")), fullmatch=True, alphabet=_PLAIN)
            return text.filter(lambda value: len(value) <= most and "\n" not in value)
        case "array":
            items = _of(_dict(node["items"]), "")
            least = _number(node.get("minItems", 0))
            return st.lists(
                items,
                min_size=least,
                max_size=max(least, min(3, _number(node["maxItems"]))),
                unique_by=json.dumps,
            )
    return _of_object(node)


_PLAIN = st.characters(min_codepoint=33, max_codepoint=126)


def _of_object(node: JsonObject) -> SearchStrategy[object]:
    if "properties" not in node:
        names = _of(_dict(node["propertyNames"]), "").filter(lambda key: len(str(key)) < 60)
        return st.dictionaries(names, _of(_dict(node["additionalProperties"]), ""), max_size=2)
    required = {str(name) for name in _list(node.get("required", []))}
    parts = {name: _of(_dict(child), name) for name, child in _dict(node["properties"]).items()}
    found = st.fixed_dictionaries(
        {name: part for name, part in parts.items() if name in required},
        optional={name: part for name, part in parts.items() if name not in required},
    )
    if "then" not in node:
        return found
    # The only condition: a Secret that is named needs its key.
    return found.map(lambda value: {**value, "key": value.get("key") or "key"})


def _places(node: JsonObject, keys: Keys = ()) -> Iterator[tuple[Keys, JsonObject]]:
    """Every group and every value, by its path."""
    node = _resolved(node)
    if keys:
        yield keys, node
    for name, child in _dict(node.get("properties", {})).items():
        if name not in GIVEN and name != "image":
            yield from _places(_dict(child), (*keys, name))


def _refused(node: JsonObject) -> Iterator[SearchStrategy[object]]:
    """Values that the schema of a place refuses."""
    kinds = node.get("type", "anyOf")
    words = kinds if isinstance(kinds, list) else [kinds]
    if "boolean" not in words:
        yield st.booleans()
    if "string" not in words and "enum" not in node and "anyOf" not in node:
        yield st.just("some text")
    if "enum" in node:
        yield st.just("unheard-of")
    if "maximum" in node:
        yield st.integers(_number(node["maximum"]) + 1, 2**52)
    if "properties" in node and node.get("additionalProperties") is False:
        yield st.just({"unheardOf": 1})
    if "maxLength" in node:
        yield st.just("a" * (_number(node["maxLength"]) + 1))


def _resolved(node: JsonObject) -> JsonObject:
    ref = node.get("$ref")
    return _dict(_dict(SCHEMA["$defs"])[str(ref).rpartition("/")[2]]) if ref else node


def _dict(value: object) -> JsonObject:
    assert isinstance(value, dict)
    return value


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _number(value: object) -> int:
    assert isinstance(value, int | float)
    return int(value)
