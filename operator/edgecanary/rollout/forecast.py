"""What a rollout will do before it begins: nodes by step, times, what each gate needs, and what will go wrong.

The choice of nodes is the planner's own.
"""

import math
from collections.abc import Iterator
from datetime import datetime

from edgecanary.analysis.prospect import ASSUMED_VARIANCE
from edgecanary.api.fields import ApiModel
from edgecanary.api.rollout import Decided, Initial
from edgecanary.base.quantities import human_seconds
from edgecanary.rollout.forecast_cohorts import EXAMPLE_UID, Fleet, Occasion, cohorts, select_fleet
from edgecanary.rollout.forecast_gates import BaselineSource, GateOutlook
from edgecanary.rollout.forecast_steps import StepForecast, forecast_steps
from edgecanary.rollout.forecast_warnings import Caution, cautions, will_adopt
from edgecanary.rollout.rank import salt_for


class Forecast(ApiModel):
    """What a rollout will do."""

    namespace: str
    name: str
    model: str
    revision: str = ""
    version: str = ""
    selected: int
    eligible: int
    incompatible: int
    online: int
    adopted: int
    """Eligible nodes that run the revision already."""
    strata: int
    choice_is_example: bool
    """The Rollout has no UID yet: how many nodes of each stratum is exact, which ones is an example."""
    steps: tuple[StepForecast, ...]
    finish: datetime | None = None
    warnings: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()


def forecast(occasion: Occasion) -> Forecast:
    """What the rollout will do. Raises InvalidInput when the planner would refuse it."""
    rollout, spec, statement = occasion.rollout, occasion.rollout.spec, occasion.statement
    fleet = select_fleet(occasion)
    revision = statement.revision if statement else ""
    salt = salt_for(rollout.metadata.uid or EXAMPLE_UID, revision)
    all_at_once = occasion.first and spec.strategy.initial is Initial.ALL_AT_ONCE
    first = len(spec.strategy.steps) - 1 if all_at_once else 0
    adopts = will_adopt(occasion)
    chosen = () if adopts else cohorts(spec, fleet, salt=salt, first_position=first)
    steps = forecast_steps(occasion, fleet, chosen)
    example = not (rollout.metadata.uid and revision)
    return Forecast(
        namespace=rollout.metadata.namespace,
        name=rollout.metadata.name,
        model=spec.model_ref.name,
        revision=revision,
        version=statement.version if statement else "",
        selected=len(fleet.nodes) + len(fleet.incompatible),
        eligible=len(fleet.nodes),
        incompatible=len(fleet.incompatible),
        online=sum(node.online for node in fleet.nodes.values()),
        adopted=len(fleet.adopted),
        strata=len(fleet.members),
        choice_is_example=example,
        steps=steps,
        finish=steps[-1].end if steps else occasion.now,
        warnings=cautions(occasion, fleet, steps),
        notes=_notes(occasion, fleet, steps, example=example, all_at_once=all_at_once),
    )


def _notes(
    occasion: Occasion,
    fleet: Fleet,
    steps: tuple[StepForecast, ...],
    *,
    example: bool,
    all_at_once: bool,
) -> tuple[str, ...]:
    """What the figures rest on."""
    rollout = occasion.rollout
    notes = []
    if occasion.statement is None:
        notes.append("the EdgeModel is not known: every selected node counts as one that a variant fits")
    if example and steps and fleet.nodes:
        lacks = "the Rollout does not exist yet" if not rollout.metadata.uid else "the revision is not known"
        notes.append(f"{lacks}: which nodes are first is an example; how many of each stratum is exact")
    if all_at_once and steps:
        notes.append("the very first revision goes straight to the last step (initial: AllAtOnce)")
    if rollout.spec.paused:
        notes.append("spec.paused is true: nothing is widened until it is false")
    if any(step.approval is Decided.MANUAL for step in steps):
        notes.append("approvals count as given at once when the bake is over and the gates pass")
    if rollout.spec.analysis is None:
        notes.append("there is no analysis: only the nodes' own probes and health decide")
    unknown = {gate.metric for step in steps for gate in step.gates if gate.outlook is GateOutlook.UNKNOWN}
    if unknown:
        notes.append(
            f"the times leave out what {', '.join(sorted(unknown))} may need: its rate of events is not known"
        )
    notes += _about_baselines(occasion, steps)
    return tuple(notes)


def _about_baselines(occasion: Occasion, steps: tuple[StepForecast, ...]) -> Iterator[str]:
    """Where exposures have nodes' baselines from."""
    sources = {gate.metric: gate.baseline for step in steps for gate in step.gates if gate.baseline}
    for metric, source in sources.items():
        learned = occasion.rates[metric].learned
        if source is BaselineSource.HISTORY and learned is not None:
            yield (
                f"the exposure of {metric} rests on the history of {len(learned.nodes)} nodes: their own rates, and "
                f"counts that vary by {learned.variation:.0%} beside chance over {human_seconds(learned.tick_seconds)}"
            )
    if assumed := sorted(metric for metric, source in sources.items() if source is BaselineSource.ASSUMED):
        yield (
            f"the exposure of {', '.join(assumed)} is assumed, since no history is known: a calm fleet, whose counts "
            f"vary by {math.sqrt(ASSUMED_VARIANCE):.0%} in time beside chance; a restless one needs longer"
        )
