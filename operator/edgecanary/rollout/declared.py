"""Reading what a person declared, from a file, with the rules that the API server would hold it to.

The schema's own rules come from the API types. Those that the CRDs say in CEL are said here once more for
Rollouts; the tests of the CRDs hold both to the same cases.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import TypeVar

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from edgecanary.api.analysis import Comparison, ComparisonMethod, Metric, Threshold
from edgecanary.api.fields import PATTERN_MESSAGE_KEY, ApiModel, JsonObject
from edgecanary.api.meta import LabelSelector
from edgecanary.api.rollout import RolloutSpec, Step, Strategy
from edgecanary.base.errors import InvalidInput

M = TypeVar("M", bound=ApiModel)
Broken = tuple[str, str]
"""A field and the rule that it breaks."""

_SHOWN = 80


def read_rollout_spec(body: Mapping[str, JsonValue]) -> RolloutSpec:
    """The spec of a Rollout, as the API server would take it; the planner's own rules are `check_rollout`.

    Raises InvalidInput naming the first field that breaks a rule.
    """
    spec = read_spec(RolloutSpec, body)
    for field, rule in _broken(spec):
        raise InvalidInput(field, rule)
    return spec


def read_spec(model: type[M], body: Mapping[str, JsonValue]) -> M:
    """The spec of an object, unknown fields refused. Raises InvalidInput naming field, value and rule."""
    spec = body.get("spec")
    if not isinstance(spec, dict):
        raise InvalidInput("spec", "must be set")
    try:
        return model.model_validate_json(json.dumps(spec), strict=True, extra="forbid")
    except ValidationError as error:
        raise _invalid(model, error.errors()[0]) from error


def _invalid(model: type[ApiModel], error: ErrorDetails) -> InvalidInput:
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    match error["type"]:
        case "missing":
            return InvalidInput(field, "must be set")
        case "extra_forbidden":
            return InvalidInput(field, f"is not known{_near(model, str(error['loc'][-1]))}")
        case "string_pattern_mismatch":
            rule = _pattern_words(model).get(str(error.get("ctx", {}).get("pattern")), error["msg"])
        case _:
            rule = error["msg"][0].lower() + error["msg"][1:]
    value = json.dumps(error["input"], default=str)
    shown = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
    return InvalidInput(field, f"{rule}, got {shown}")


def _near(model: type[ApiModel], name: str) -> str:
    near = get_close_matches(name, sorted(_field_names(model)), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@cache
def _pattern_words(model: type[ApiModel]) -> Mapping[str, str]:
    """What a person reads when a pattern does not match, by pattern."""
    found = {}
    for part in _schema_parts(model.model_json_schema(by_alias=True)):
        pattern, words = part.get("pattern"), part.get(PATTERN_MESSAGE_KEY)
        if isinstance(pattern, str) and isinstance(words, str):
            found[pattern] = words
    return found


@cache
def _field_names(model: type[ApiModel]) -> frozenset[str]:
    parts = _schema_parts(model.model_json_schema(by_alias=True))
    properties = (part["properties"] for part in parts if isinstance(part.get("properties"), dict))
    return frozenset(name for found in properties if isinstance(found, dict) for name in found)


def _schema_parts(value: JsonValue) -> Iterator[JsonObject]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _schema_parts(inner)


def _broken(spec: RolloutSpec) -> Iterator[Broken]:
    yield from _broken_selector(spec.node_selector, "spec.nodeSelector")
    yield from _broken_strategy(spec.strategy)
    for index, window in enumerate(spec.update_windows):
        if window.time_zone == "Local":
            yield (
                f"spec.updateWindows[{index}].timeZone",
                "must be an IANA time zone that exists, got 'Local'",
            )
    metrics = spec.analysis.metrics if spec.analysis else ()
    yield from _twice("spec.analysis.metrics", [metric.name for metric in metrics])
    for index, metric in enumerate(metrics):
        yield from _broken_metric(metric, f"spec.analysis.metrics[{index}]")


def _broken_selector(selector: LabelSelector, field: str) -> Iterator[Broken]:
    for index, requirement in enumerate(selector.match_expressions):
        if (requirement.operator in ("In", "NotIn")) != bool(requirement.values):
            rule = "values must not be empty for In and NotIn and must be empty for Exists and DoesNotExist"
            yield f"{field}.matchExpressions[{index}]", f"{rule}, got the operator {requirement.operator}"


def _broken_strategy(strategy: Strategy) -> Iterator[Broken]:
    field, steps = "spec.strategy.steps", strategy.steps
    yield from _twice("spec.strategy.stratifyBy", strategy.stratify_by)
    yield from _twice(field, [step.name for step in steps])
    for index, step in enumerate(steps):
        if (step.percent is None) == (step.nodes is None):
            got = "neither" if step.percent is None else "both"
            yield f"{field}[{index}]", f"exactly one of percent and nodes must be set, got {got}"
    if steps[-1].percent != 100:
        yield field, f"the last step must be percent: 100, got the step {steps[-1].name}"
    yield from _not_increasing(field, "percent", steps, lambda step: step.percent)
    yield from _not_increasing(field, "nodes", steps, lambda step: step.nodes)
    kinds = [step.percent is not None for step in steps]
    if kinds != sorted(kinds):
        yield field, "steps with nodes must come before steps with percent"
    if any(step.bake_seconds > strategy.step_deadline_seconds for step in steps):
        rule = "stepDeadlineSeconds must not be below the bakeSeconds of any step: the step could never end"
        yield "spec.strategy", f"{rule}, got {strategy.step_deadline_seconds}"


def _not_increasing(
    field: str, name: str, steps: Sequence[Step], reach: Callable[[Step], int | None]
) -> Iterator[Broken]:
    found = [value for step in steps if (value := reach(step)) is not None]
    if any(later <= earlier for earlier, later in pairwise(found)):
        yield field, f"{name} must increase from step to step, got {', '.join(map(str, found))}"


def _twice(field: str, names: Iterable[str]) -> Iterator[Broken]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield f"{field}[{index}]", f"duplicate value: must be there once, got {name!r} again"
        seen.add(name)


def _broken_metric(metric: Metric, field: str) -> Iterator[Broken]:
    if (metric.preset is None) == (metric.query is None):
        got = "neither" if metric.preset is None else "both"
        yield field, f"exactly one of preset and query must be set, got {got}"
    if metric.threshold is None and metric.comparison is None:
        yield field, "at least one of threshold and comparison must be set"
    if metric.threshold is not None:
        yield from _broken_threshold(metric.threshold, f"{field}.threshold")
    if metric.comparison is not None:
        yield from _broken_comparison(metric.comparison, f"{field}.comparison")
        if metric.query is not None and metric.comparison.method is not ComparisonMethod.RATIO:
            yield (
                field,
                "a query must be compared by the method Ratio: the others need the counts behind a preset",
            )


def _broken_threshold(threshold: Threshold, field: str) -> Iterator[Broken]:
    if threshold.min is None and threshold.max is None:
        yield field, "at least one of min and max must be set"
    elif threshold.min and threshold.max and float(threshold.min) > float(threshold.max):
        yield field, f"min must not be above max, got min {threshold.min} and max {threshold.max}"


def _broken_comparison(comparison: Comparison, field: str) -> Iterator[Broken]:
    if (comparison.method is ComparisonMethod.RATIO) != (comparison.max_increase_percent is not None):
        rule = "maxIncreasePercent must be set for the method Ratio and for no other"
        yield field, f"{rule}, got the method {comparison.method}"
    if float(comparison.detect_ratio) <= 1:
        yield f"{field}.detectRatio", f"must be above 1, got {comparison.detect_ratio}"
    if not 0.5 < float(comparison.confidence) < 1:
        yield f"{field}.confidence", f"must be above 0.5 and below 1, got {comparison.confidence}"
