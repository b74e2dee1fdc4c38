"""What will go wrong with a rollout that has not begun, and what to change."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from edgecanary.api.analysis import ComparisonMethod, Metric, MetricMode, Preset, Threshold
from edgecanary.api.fields import ApiModel
from edgecanary.api.rollout import OnDeadline, RolloutSpec
from edgecanary.base.clock import to_rfc3339
from edgecanary.base.quantities import human_seconds
from edgecanary.rollout.adoption import already_there, describe_adopted
from edgecanary.rollout.fleet import Targets
from edgecanary.rollout.forecast_cohorts import Fleet, Occasion
from edgecanary.rollout.forecast_gates import LEAST_ARRANGEMENTS, GateForecast, GateOutlook, arrangements
from edgecanary.rollout.forecast_steps import StepForecast
from edgecanary.rollout.forecast_windows import longest_closed, zoned
from edgecanary.rollout.returning import earlier
from edgecanary.rollout.windows import opening

_LISTED = 5


class Caution(ApiModel):
    """Something about the rollout that a person should change or know: a machine reason, where, and why."""

    reason: str
    field: str
    message: str


def cautions(occasion: Occasion, fleet: Fleet, steps: Sequence[StepForecast]) -> tuple[Caution, ...]:
    """The warnings, in the order of the spec's fields."""
    spec = occasion.rollout.spec
    return tuple(
        warning
        for source in (
            _about_revision(occasion),
            _about_adoption(occasion, fleet),
            _about_nodes(occasion, fleet),
            _about_windows(spec, occasion.now),
            _about_strata(spec, fleet, steps),
            _about_steps(spec, steps),
            _about_gates(occasion, fleet, steps),
        )
        for warning in source
    )


def _about_revision(occasion: Occasion) -> Iterator[Caution]:
    """What a Rollout that exists already will do with the revision instead of what is forecast."""
    status, statement = occasion.rollout.status, occasion.statement
    if statement is None:
        return
    field, revision, what = (
        "spec.modelRef",
        statement.revision,
        f"{statement.version} ({statement.revision[:12]})",
    )
    if status.stable is not None and status.stable.revision == revision:
        text = f"{what} is the stable revision already: nothing begins before the EdgeModel changes"
        yield Caution(reason="AlreadyStable", field=field, message=text)
        return
    if any(entry.revision == revision for entry in status.rejected):
        text = f"{what} was taken back before: it is not tried again before edgecanary.dev/retry is set"
        yield Caution(reason="RevisionRejected", field=field, message=text)
    elif status.canary is not None and status.canary.revision == revision:
        where = f" in {status.step.display}" if status.step else ""
        text = f"{what} is under way already{where}: the plan shows it from its beginning"
        yield Caution(reason="AlreadyUnderWay", field=field, message=text)
    elif status.stable is not None:
        window = occasion.rollout.spec.strategy.rollback_window_revisions
        if revision in earlier(status.history, status.stable.revision)[:window]:
            text = f"{what} was stable before: it returns to all nodes in one step, without gates and bakes"
            yield Caution(reason="ReturnsAtOnce", field="spec.strategy.rollbackWindowRevisions", message=text)


def will_adopt(occasion: Occasion) -> Targets | None:
    """The nodes, when nothing is known of the model but that they run the revision: it is stable at once then."""
    status, statement = occasion.rollout.status, occasion.statement
    known = status.stable is not None or status.canary is not None
    if statement is None or known or any(entry.revision == statement.revision for entry in status.rejected):
        return None
    return already_there(occasion.rollout.spec, occasion.fleet, statement)


def _about_adoption(occasion: Occasion, fleet: Fleet) -> Iterator[Caution]:
    """What becomes of nodes that run the revision already."""
    status, statement = occasion.rollout.status, occasion.statement
    field = "spec.modelRef"
    if statement is None or not fleet.adopted:
        return
    if (found := will_adopt(occasion)) is not None:
        text = f"{describe_adopted(found, statement)} as soon as the Rollout exists, without steps and gates"
        yield Caution(reason="AdoptedAtOnce", field=field, message=text)
    elif status.canary is None and (status.stable is None or status.stable.revision != statement.revision):
        number = len(fleet.adopted)
        those = f"{_counted(number)} {'runs' if number == 1 else 'run'} {statement.version} already"
        if status.stable is None:
            quorum = occasion.rollout.spec.strategy.quorum_percent
            those += f", fewer than the {quorum} % of those online that would make it stable at once"
        later = "keep it" if status.stable is None else "go back to the stable revision until then"
        text = f"{those}: they count as updated in their step; those of later steps {later}"
        text += f" ({_listed(sorted(fleet.adopted))})"
        yield Caution(reason="RunsAlready", field=field, message=text)


def _about_nodes(occasion: Occasion, fleet: Fleet) -> Iterator[Caution]:
    field = "spec.nodeSelector"
    if not fleet.nodes and not fleet.incompatible:
        text = (
            f"matches none of {_counted(len(occasion.fleet))}; the rollout waits for Nodes with these labels"
        )
        yield Caution(reason="NoMatchingNodes", field=field, message=text)
    if fleet.incompatible:
        named = _listed([node.facts.name for node in fleet.incompatible])
        text = f"matches {_counted(len(fleet.incompatible))} that no variant of the model fits: {named}"
        yield Caution(reason="IncompatibleNodes", field=field, message=text)
    offline = [name for name, node in fleet.nodes.items() if not node.online]
    if offline:
        text = f"matches {_counted(len(offline))} offline now, to follow later: {_listed(offline)}"
        yield Caution(reason="NodesOffline", field=field, message=text)


def _about_windows(spec: RolloutSpec, now: datetime) -> Iterator[Caution]:
    windows = zoned(spec.update_windows)
    never = 0
    for index, window in enumerate(windows):
        state = opening([window], now)
        if not state.open and state.changes_at is None:
            never += 1
            text = f"{window[0].schedule!r} names no day that exists: the window never opens"
            yield Caution(
                reason="WindowNeverOpens", field=f"spec.updateWindows[{index}].schedule", message=text
            )
    if not windows or never == len(windows):
        return
    strategy = spec.strategy
    closed = longest_closed(windows, now)
    bake = max(step.bake_seconds for step in strategy.steps)
    needed = closed + timedelta(seconds=spec.health.soak_seconds + bake)
    if needed > timedelta(seconds=strategy.step_deadline_seconds):
        text = (
            f"{human_seconds(strategy.step_deadline_seconds)} is shorter than a step can take: up to "
            f"{human_seconds(closed.total_seconds())} until a window opens, {human_seconds(spec.health.soak_seconds)} "
            f"soak and {human_seconds(bake)} bake; set it to {round(needed.total_seconds())} or more"
        )
        yield Caution(
            reason="DeadlineShorterThanWindows", field="spec.strategy.stepDeadlineSeconds", message=text
        )


def _about_strata(spec: RolloutSpec, fleet: Fleet, steps: Sequence[StepForecast]) -> Iterator[Caution]:
    field, keys = "spec.strategy.stratifyBy", spec.strategy.stratify_by
    single = sorted(stratum for stratum, names in fleet.members.items() if len(names) == 1)
    if keys and single and len(fleet.nodes) > 1:
        where = _listed([", ".join(filter(None, stratum)) or "without the label" for stratum in single])
        text = (
            f"gives {_counted(len(single), 'stratum', 'strata')} of one node ({where}): it takes the canary in the "
            "first step with a percentage, and no stable node of its kind is left to compare with"
        )
        yield Caution(reason="StratumOfOne", field=field, message=text)
    for place, key in enumerate(keys):
        lacking = [name for s, names in fleet.members.items() if not s[place] for name in names]
        if lacking:
            text = f"{_counted(len(lacking))} without the label {key} form a stratum of their own: {_listed(lacking)}"
            yield Caution(reason="StratumLabelMissing", field=field, message=text)
    untouched = [s for s in steps[0].strata if s.nodes == 0] if steps else []
    if untouched and fleet.nodes:
        where = _listed([", ".join(s.stratum.values()) for s in untouched])
        text = f"the step {steps[0].name} takes no node of {_counted(len(untouched), 'stratum', 'strata')}: {where}"
        yield Caution(
            reason="StratumNotCovered", field=f"spec.strategy.steps[{steps[0].position}]", message=text
        )


def _about_steps(spec: RolloutSpec, steps: Sequence[StepForecast]) -> Iterator[Caution]:
    for step in steps:
        field = f"spec.strategy.steps[{step.position}]"
        if step.added == 0 and step.nodes:
            text = f"the step {step.name} ({step.share}) adds no node to the {step.nodes} of the step before"
            yield Caution(reason="StepAddsNobody", field=field, message=text)
        if step.nodes and step.online == 0:
            text = f"all {step.nodes} nodes of the step {step.name} are offline now: it waits for them"
            yield Caution(reason="StepOffline", field=field, message=text)
        if step.bake_end and step.deadline and step.bake_end > step.deadline:
            text = (
                f"the bake of the step {step.name} ends {to_rfc3339(step.bake_end)} at the earliest, after its "
                f"deadline {to_rfc3339(step.deadline)}: {_at_deadline(spec)}"
            )
            yield Caution(reason="DeadlineBeforeBake", field=field, message=text)


def _at_deadline(spec: RolloutSpec) -> str:
    if spec.strategy.on_deadline is OnDeadline.ROLLBACK:
        return "the revision is taken back then"
    return "the rollout waits for a person then"


def _about_gates(occasion: Occasion, fleet: Fleet, steps: Sequence[StepForecast]) -> Iterator[Caution]:
    spec = occasion.rollout.spec
    for index, metric in enumerate(spec.analysis.metrics if spec.analysis else ()):
        field = f"spec.analysis.metrics[{index}]"
        outlooks = [(step, gate) for step in steps for gate in step.gates if gate.metric == metric.name]
        yield from _never_ready(spec, metric, outlooks, field)
        yield from _broken_already(occasion, metric, field)
        if metric.comparison is not None and not occasion.first:
            yield from _nobody_to_compare(metric, fleet, steps, field)
            if metric.comparison.method is ComparisonMethod.RANDOMIZATION:
                yield from _too_few_arrangements(fleet, steps, field)


def _never_ready(
    spec: RolloutSpec, metric: Metric, outlooks: Sequence[tuple[StepForecast, GateForecast]], field: str
) -> Iterator[Caution]:
    never = [(step, gate) for step, gate in outlooks if gate.outlook is GateOutlook.NEVER]
    if not never:
        return
    step, gate = never[0]
    then = _at_deadline(spec) if metric.mode is MetricMode.ENFORCE else "it is DryRun and holds nothing up"
    steps = _listed([step.name for step, _ in never])
    where = f"in {step.name}, " if len(never) > 1 else ""
    text = f"{metric.name} can never have enough data in {steps}: {where}{gate.why}; {then}"
    yield Caution(reason="GateNeverReady", field=field, message=text)


def _broken_already(occasion: Occasion, metric: Metric, field: str) -> Iterator[Caution]:
    rates = occasion.rates.get(metric.name)
    if rates is None or rates.bad_share is None or metric.threshold is None:
        return
    if metric.preset is Preset.ERROR_RATE:
        broken = _beyond(metric.threshold, rates.bad_share)
    elif metric.preset is Preset.ACCURACY:
        broken = _beyond(metric.threshold, 1 - rates.bad_share)
    else:
        return
    if broken:
        text = f"{broken}, by what runs today: a revision that is as good is taken back"
        yield Caution(reason="LimitBrokenAlready", field=f"{field}.threshold", message=text)


def _beyond(threshold: Threshold, value: float) -> str:
    if threshold.max is not None and value > float(threshold.max):
        return f"{value:.4g} is above the limit {threshold.max}"
    if threshold.min is not None and value < float(threshold.min):
        return f"{value:.4g} is below the limit {threshold.min}"
    return ""


def _nobody_to_compare(
    metric: Metric, fleet: Fleet, steps: Sequence[StepForecast], field: str
) -> Iterator[Caution]:
    """Steps without stable nodes, unless the gate knows enough by then."""
    alone = [step for step in steps if fleet.nodes and step.nodes == len(fleet.nodes)]
    before = [step for step in steps if 0 < step.nodes < len(fleet.nodes)]
    known = any(
        gate.exposure is not None
        and gate.exposure_needed is not None
        and gate.exposure >= gate.exposure_needed
        for step in before[-1:]
        for gate in step.gates
        if gate.metric == metric.name
    )
    if alone and not (before and (known or len(alone) == 1)):
        text = (
            f"{metric.name} has no stable nodes left to compare with in {_listed([step.name for step in alone])}; "
            "put a step before that leaves some"
        )
        yield Caution(reason="NoStableNodesLeft", field=field, message=text)


def _too_few_arrangements(fleet: Fleet, steps: Sequence[StepForecast], field: str) -> Iterator[Caution]:
    eligible = len(fleet.nodes)
    compared = [step for step in steps if 0 < step.nodes < eligible]
    ways_of = {step.name: arrangements((s.members, s.nodes) for s in step.strata) for step in compared}
    few = [step for step in compared if ways_of[step.name] < LEAST_ARRANGEMENTS]
    if few:
        ways = ways_of[few[0].name]
        text = (
            f"Randomization needs {LEAST_ARRANGEMENTS} ways to choose the canary nodes, and {few[0].nodes} of "
            f"{eligible} nodes in {few[0].name} can be chosen in {ways}"
            + (" within their strata" if len(fleet.members) > 1 else "")
        )
        text += f" (also {_listed([step.name for step in few[1:]])})" if few[1:] else ""
        yield Caution(
            reason="TooFewArrangements", field=f"{field}.comparison", message=f"{text}; use NegativeBinomial"
        )


def _counted(number: int, one: str = "node", many: str = "nodes") -> str:
    return f"{number} {one if number == 1 else many}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
