"""Cases of Rollout."""

from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.generate.kinds import ROLLOUT
from tests.kube.crd_cases.shared import (
    Words,
    decimals,
    device_health,
    label_keys,
    names,
    object_names,
    priority,
    selectors,
    update_windows,
)
from tests.kube.crd_cases.table import Table

TABLE = Table(ROLLOUT)
_IN_WORDS = Words(plain=True)
_STEPS = "spec.strategy.steps"
_METRIC = "spec.analysis.metrics[0]"
_LIMITS: JsonObject = {"max": "0.02"}


def _steps(*reaches: int | str) -> list[JsonValue]:
    """Steps by their reach: 5 for five nodes, "5%" for a share."""
    return [
        {"name": f"s{number}", "percent": int(reach[:-1])}
        if isinstance(reach, str)
        else _nodes(number, reach)
        for number, reach in enumerate(reaches)
    ]


def _nodes(number: int, count: int) -> JsonObject:
    return {"name": f"s{number}", "nodes": count}


def _metric(**fields: JsonValue) -> JsonObject:
    return {"name": "errors", **fields}


TABLE.needs("spec", "spec.modelRef", "spec.modelRef.name", "spec.strategy")
TABLE.may_lack("spec.analysis", "spec.paused", "spec.rollback")
object_names(TABLE, "spec.modelRef.name", _IN_WORDS)
selectors(TABLE, "spec.nodeSelector", _IN_WORDS)
TABLE.on_or_off("spec.paused")
TABLE.one_of("spec.rollback", "Automatic", "Manual")
update_windows(TABLE, _IN_WORDS)
device_health(TABLE)
priority(TABLE)

TABLE.needs(_STEPS)
for _optional in (
    "stratifyBy",
    "quorumPercent",
    "maxFailedNodes",
    "stepDeadlineSeconds",
    "onDeadline",
    "initial",
):
    TABLE.may_lack(f"spec.strategy.{_optional}")
TABLE.unique("spec.strategy.stratifyBy", "hardware", "site", "hardware")
TABLE.sized("spec.strategy.stratifyBy", lambda number: f"k{number}", high=4)
label_keys(TABLE, "spec.strategy.stratifyBy[0]", _IN_WORDS)
TABLE.between("spec.strategy.quorumPercent", 1, 100)
TABLE.between("spec.strategy.maxFailedNodes", 0, 100_000)
TABLE.between("spec.strategy.rollbackWindowRevisions", 0, 10)
TABLE.one_of("spec.strategy.onDeadline", "Pause", "Rollback")
TABLE.one_of("spec.strategy.initial", "Staged", "AllAtOnce")
TABLE.takes("spec.strategy", {"steps": _steps("100%"), "stepDeadlineSeconds": 300})
TABLE.takes(
    "spec.strategy", {"steps": [{"name": "all", "percent": 100, "bakeSeconds": 0}], "stepDeadlineSeconds": 1}
)
TABLE.takes("spec.strategy.stepDeadlineSeconds", 7_776_000)
TABLE.refuses("spec.strategy.stepDeadlineSeconds", 0, says="should be greater than or equal to 1")
TABLE.refuses("spec.strategy.stepDeadlineSeconds", 7_776_001, says="should be less than or equal to ")
TABLE.refuses(
    "spec.strategy",
    {"steps": _steps("100%"), "stepDeadlineSeconds": 299},
    {"steps": [{"name": "all", "percent": 100, "bakeSeconds": 86401}]},
    says="stepDeadlineSeconds must not be below the bakeSeconds of any step: the step could never end",
)

TABLE.takes(_STEPS, _steps("100%"), _steps(1, "100%"), _steps(1, 2, "5%", "25%", "100%"))
TABLE.takes(_STEPS, _steps("1%", "100%"), at=f"{_STEPS}[0].percent")
TABLE.takes(f"{_STEPS}[0]", {"name": "a", "nodes": 1}, {"name": "a", "percent": 1})
TABLE.takes(_STEPS, _steps(*range(1, 20), "100%"))
TABLE.refuses(_STEPS, _steps(*range(1, 21), "100%"), says="must have at most 20 items")
TABLE.refuses(_STEPS, [], says="should have at least 1 items")
TABLE.refuses(
    _STEPS, [{"name": "s", "nodes": 1}, {"name": "s", "percent": 100}], says="Duplicate", at=f"{_STEPS}[1]"
)
_LAST = "the last step must be percent: 100, got the step "
TABLE.refuses(_STEPS, _steps("5%", "99%"), _steps(1, 10), _steps("100%", 5), says=_LAST)
TABLE.refuses(
    _STEPS,
    _steps("5%", "5%", "100%"),
    _steps("25%", "5%", "100%"),
    says="percent must increase from step to step",
)
TABLE.refuses(_STEPS, _steps("100%", "100%"), says="percent must increase from step to step")
TABLE.refuses(
    _STEPS, _steps(3, 3, "100%"), _steps(3, 1, "100%"), says="nodes must increase from step to step"
)
TABLE.refuses(_STEPS, _steps("5%", 10, "100%"), says="steps with nodes must come before steps with percent")
_EXACTLY_ONE = "exactly one of percent and nodes must be set, got "
TABLE.refuses(f"{_STEPS}[0]", {"name": "a", "nodes": 1, "percent": 1}, says=f"{_EXACTLY_ONE}both")
TABLE.refuses(f"{_STEPS}[0]", {"name": "a"}, says=f"{_EXACTLY_ONE}neither")
TABLE.needs(f"{_STEPS}[0].name")
names(TABLE, f"{_STEPS}[0].name", _IN_WORDS)
TABLE.between(f"{_STEPS}[0].nodes", 1, 100_000)
TABLE.refuses(f"{_STEPS}[3].percent", 101, says="should be less than or equal to 100")
TABLE.refuses(f"{_STEPS}[1].percent", 0, -5, says="should be greater than or equal to 1")
TABLE.refuses(f"{_STEPS}[1].percent", 0.5, says='must be of type integer: "number"')
TABLE.takes(f"{_STEPS}[1].bakeSeconds", 0, 86400)
TABLE.refuses(f"{_STEPS}[1].bakeSeconds", -1, says="should be greater than or equal to 0")
TABLE.refuses(f"{_STEPS}[1].bakeSeconds", 2_592_001, says="should be less than or equal to ")
TABLE.one_of(f"{_STEPS}[0].approval", "Automatic", "Manual")

TABLE.needs("spec.analysis.prometheus", "spec.analysis.prometheus.url", "spec.analysis.metrics")
TABLE.may_lack("spec.analysis.intervalSeconds", "spec.analysis.prometheus.timeoutSeconds")
TABLE.text(
    "spec.analysis.prometheus.url",
    good=("http://prometheus:9090", "https://prometheus.example.com/base/path", "http://[::1]:9090/"),
    bad=(
        *(
            "",
            "prometheus:9090",
            "ftp://prometheus",
            "http://",
            "http:///x",
            "http://user:pass@prometheus:9090",
        ),
        *(
            "http://prometheus:9090?x=1",
            "http://prometheus:9090/#x",
            "http://prome theus",
            "file:///etc/passwd",
        ),
    ),
    says="must be an http:// or https:// address without user name, query or fragment",
)
TABLE.longest("spec.analysis.prometheus.url", 2048, "http://")
TABLE.needs("spec.analysis.prometheus.secretRef.name")
object_names(TABLE, "spec.analysis.prometheus.secretRef.name", _IN_WORDS)
TABLE.between("spec.analysis.prometheus.timeoutSeconds", 1, 300)
TABLE.between("spec.analysis.intervalSeconds", 1, 86_400)
TABLE.between("spec.analysis.historySeconds", 60, 2_592_000)

TABLE.sized(
    "spec.analysis.metrics",
    lambda number: {"name": f"m{number}", "preset": "Drift", "threshold": _LIMITS},
    low=1,
    high=20,
)
TABLE.unique(
    "spec.analysis.metrics",
    _metric(preset="ErrorRate", threshold=_LIMITS),
    {"name": "other", "preset": "ErrorRate", "threshold": _LIMITS},
    _metric(preset="Drift", threshold=_LIMITS),
)
TABLE.needs(f"{_METRIC}.name")
names(TABLE, f"{_METRIC}.name", _IN_WORDS)
_PRESETS = ("ErrorRate", "LatencyP95", "LatencyP99", "Accuracy", "Disagreement", "Memory", "Drift")
for _preset in _PRESETS:
    TABLE.takes(_METRIC, _metric(preset=_preset, threshold=_LIMITS), at=f"{_METRIC}.preset")
TABLE.refuses(
    f"{_METRIC}.preset",
    "Nonsense",
    says='Unsupported value: "Nonsense": supported values: ' + ", ".join(f'"{word}"' for word in _PRESETS),
)
TABLE.takes(_METRIC, _metric(query="up", threshold=_LIMITS), _metric(preset="Drift", threshold=_LIMITS))
_EXACTLY_ONE = "exactly one of preset and query must be set, got "
TABLE.refuses(_METRIC, _metric(preset="Drift", query="up", threshold=_LIMITS), says=f"{_EXACTLY_ONE}both")
TABLE.refuses(_METRIC, _metric(threshold=_LIMITS), says=f"{_EXACTLY_ONE}neither")
TABLE.takes(_METRIC, _metric(preset="ErrorRate", comparison={}))
TABLE.refuses(_METRIC, _metric(preset="Drift"), says="at least one of threshold and comparison must be set")

_QUERY = "spec.analysis.metrics[1].query"
TABLE.text(
    _QUERY,
    good=(
        "up",
        'sum(rate(x{model="{{ model }}",namespace="{{namespace}}"}[{{ window }}]))',
        'max(a{node=~"{{ nodes }}",revision="{{ canary }}"}) / max(a{revision="{{ stable }}"})',
        'count(a{b=~"x{2}"})\n  or vector(0)',
    ),
    bad=('a{node="{{ node }}"}', "{{ }}", "{{ nodes }", "a{{{ nodes }}", "{{ .Nodes }}"),
    says="must have in {{ }} only namespace, model, canary, stable, nodes or window",
)
TABLE.refuses(_QUERY, "", says="should be at least 1 chars long")
TABLE.longest(_QUERY, 4096)
_RATIO: JsonObject = {"method": "Ratio", "maxIncreasePercent": 10}
_OF_CANARY = 'max(a{revision="{{ canary }}"})'
TABLE.takes(
    _METRIC,
    _metric(query=_OF_CANARY, comparison=_RATIO),
    _metric(query="max(a{revision='{{canary}}'})", comparison=_RATIO),
)
TABLE.refuses(
    _METRIC,
    _metric(query="up", comparison=_RATIO),
    _metric(query='max(a{node=~"{{ nodes }}"})', comparison=_RATIO),
    says="a query must name {{ canary }} to be compared: the same is asked for the stable revision",
)
TABLE.refuses(
    _METRIC,
    _metric(query=_OF_CANARY, comparison={}),
    _metric(query=_OF_CANARY, threshold=_LIMITS, comparison={"method": "Paired"}),
    says="a query must be compared by the method Ratio: the others need the counts behind a preset",
)

TABLE.takes(
    f"{_METRIC}.threshold", {"min": "0.5"}, {"max": "-1"}, {"min": "1", "max": "1"}, {"min": "9", "max": "10"}
)
TABLE.refuses(f"{_METRIC}.threshold", {}, says="at least one of min and max must be set")
TABLE.refuses(
    f"{_METRIC}.threshold",
    {"min": "10", "max": "9"},
    says="min must not be above max, got min 10 and max 9",
)
decimals(TABLE, f"{_METRIC}.threshold.max", _IN_WORDS, good=("0.75", "3", "-1", "-0.5"))
decimals(TABLE, f"{_METRIC}.threshold.min", _IN_WORDS, good=("0.02", "0", "-1", "-0.5"))

_COMPARISON = f"{_METRIC}.comparison"
for _method in ("NegativeBinomial", "Randomization"):
    TABLE.takes(_COMPARISON, {"method": _method}, at=f"{_COMPARISON}.method")
    TABLE.takes(_METRIC, _metric(preset="Accuracy", comparison={"method": _method}))
    TABLE.takes(_METRIC, _metric(preset="LatencyP95", comparison={"method": _method}))
    TABLE.takes(_METRIC, _metric(preset="LatencyP99", comparison={"method": _method}))
for _preset in ("ErrorRate", "LatencyP95", "LatencyP99", "Memory", "Drift"):
    TABLE.takes(_METRIC, _metric(preset=_preset, comparison=_RATIO))
_PAIRED: JsonObject = {"method": "Paired"}
TABLE.takes(_METRIC, _metric(preset="Disagreement", comparison=_PAIRED), at=f"{_COMPARISON}.method")
_ONLY_PAIRED = "Disagreement must be compared by the method Paired, and nothing else can be, got "
for _preset in _PRESETS:
    if _preset == "Disagreement":
        continue
    _wrong = _metric(preset=_preset, comparison=_PAIRED)
    TABLE.refuses(_METRIC, _wrong, says=f"{_ONLY_PAIRED}{_preset} by Paired")
_NOT_PAIRED: tuple[JsonObject, ...] = ({}, {"method": "Randomization"}, _RATIO)
for _other in _NOT_PAIRED:
    TABLE.refuses(_METRIC, _metric(preset="Disagreement", comparison=_other), says=_ONLY_PAIRED)
_ONLY_A_RATIO = "Memory and Drift must be compared by the method Ratio: there is nothing to count, got "
for _preset in ("Memory", "Drift"):
    _wrong = _metric(preset=_preset, comparison={})
    TABLE.refuses(_METRIC, _wrong, says=f"{_ONLY_A_RATIO}{_preset} by NegativeBinomial")
TABLE.refuses(
    _METRIC,
    _metric(preset="Accuracy", comparison=_RATIO),
    says="Accuracy must not be compared by the method Ratio, for which higher is worse",
)
TABLE.takes(_COMPARISON, _RATIO, {})
TABLE.refuses(
    f"{_COMPARISON}.method",
    "TTest",
    says='Unsupported value: "TTest": supported values: "NegativeBinomial", "Randomization", "Paired"',
)
_ONLY_RATIO = "maxIncreasePercent must be set for the method Ratio and for no other, got the method "
TABLE.refuses(_COMPARISON, {"method": "Ratio"}, says=f"{_ONLY_RATIO}Ratio")
TABLE.refuses(_COMPARISON, {"maxIncreasePercent": 5}, says=f"{_ONLY_RATIO}NegativeBinomial")
TABLE.takes(_COMPARISON, {**_RATIO, "maxIncreasePercent": 1}, {**_RATIO, "maxIncreasePercent": 100_000})
for _value, _says in (
    (0, "should be greater than or equal to 1"),
    (100_001, "should be less than or equal to "),
):
    TABLE.refuses(
        _COMPARISON,
        {**_RATIO, "maxIncreasePercent": _value},
        says=_says,
        at=f"{_COMPARISON}.maxIncreasePercent",
    )
TABLE.between(f"{_COMPARISON}.warmupSeconds", 0, 86_400)
decimals(TABLE, f"{_COMPARISON}.detectRatio", _IN_WORDS, good=("1.01", "2", "10"))
TABLE.refuses(f"{_COMPARISON}.detectRatio", "1", "1.0", "0.5", "0", says="must be above 1")
decimals(TABLE, f"{_COMPARISON}.confidence", _IN_WORDS, good=("0.51", "0.95", "0.999"))
TABLE.refuses(f"{_COMPARISON}.confidence", "0.5", "1", "95", "0", says="must be above 0.5 and below 1")

for _limit, _high in (
    ("minSamples", 10_000_000),
    ("failureLimit", 1000),
    ("consecutiveErrorLimit", 1000),
    ("initialDelaySeconds", 604_800),
):
    TABLE.between(f"{_METRIC}.{_limit}", 0, _high)
for _policy in ("onNoData", "onError"):
    TABLE.one_of(f"{_METRIC}.{_policy}", "Wait", "Pause", "Rollback")
TABLE.one_of(f"{_METRIC}.mode", "Enforce", "DryRun")
