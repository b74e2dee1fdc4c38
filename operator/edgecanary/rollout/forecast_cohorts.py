"""Which nodes a rollout that has not begun is for, and which of them take the revision in which step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.rollout import Rollout, RolloutSpec, Step
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.cohort import MAX_STRATA, Share, Stratum, cutoffs, stratum_of
from edgecanary.rollout.eligibility import fitting_variant
from edgecanary.rollout.fleet import runs
from edgecanary.rollout.forecast_gates import Rates
from edgecanary.rollout.rank import rank
from edgecanary.rollout.selector import matches
from edgecanary.rollout.snapshot import NodeView

EXAMPLE_UID = "example"
"""Stands for the UID of a Rollout that does not exist yet."""


@dataclass(frozen=True)
class Occasion:
    """All that a forecast is made from.

    `statement` is the revision to roll out; None when nobody knows it: then every selected node counts as
    eligible. `rates` are by metric name. `first` is whether no revision is stable yet.
    """

    rollout: Rollout
    statement: RevisionStatement | None
    fleet: Sequence[NodeView]
    now: datetime
    rates: Mapping[str, Rates] = field(default_factory=dict)
    first: bool = False


@dataclass(frozen=True)
class Fleet:
    """The nodes that the rollout is for, by stratum."""

    nodes: Mapping[str, NodeView]
    members: Mapping[Stratum, Sequence[str]]
    incompatible: tuple[NodeView, ...]
    adopted: frozenset[str] = frozenset()
    """Eligible nodes that run the revision already."""


@dataclass(frozen=True)
class Cohort:
    """A step's nodes: all that have the canary then, and those who take it in this step, by stratum."""

    step: Step
    position: int
    nodes: Mapping[Stratum, tuple[str, ...]]
    added: Mapping[Stratum, tuple[str, ...]]

    @property
    def size(self) -> int:
        """Nodes that have the canary in the step."""
        return sum(map(len, self.nodes.values()))

    @property
    def growth(self) -> int:
        """Nodes that take it in the step."""
        return sum(map(len, self.added.values()))


def select_fleet(occasion: Occasion) -> Fleet:
    """The nodes that the selector matches and a variant fits. Raises InvalidInput for too many strata."""
    spec, statement = occasion.rollout.spec, occasion.statement
    eligible: dict[str, NodeView] = {}
    incompatible = []
    for node in sorted(occasion.fleet, key=lambda view: view.facts.name):
        if not matches(spec.node_selector, node.facts.labels):
            continue
        if statement and fitting_variant(statement.variants, node.facts, serve=statement.serve) is None:
            incompatible.append(node)
        else:
            eligible[node.facts.name] = node
    members: dict[Stratum, list[str]] = {}
    for name, node in eligible.items():
        members.setdefault(stratum_of(node.facts.labels, spec.strategy.stratify_by), []).append(name)
    if len(members) > MAX_STRATA:
        text = f"gives {len(members)} strata and at most {MAX_STRATA} are possible; choose labels with fewer values"
        raise InvalidInput("spec.strategy.stratifyBy", text, reason="TooManyStrata")
    adopted = frozenset(
        name for name, node in eligible.items() if statement is not None and runs(node, statement.revision)
    )
    return Fleet(eligible, members, tuple(incompatible), adopted)


def cohorts(spec: RolloutSpec, fleet: Fleet, *, salt: str, first_position: int = 0) -> tuple[Cohort, ...]:
    """The nodes of each step from `first_position` on, as the planner will choose them."""
    found = []
    ranks = {name: rank(salt, name) for name in fleet.nodes}
    bounds: dict[Stratum, int] = {}
    before: dict[Stratum, tuple[str, ...]] = {}
    for position, step in enumerate(spec.strategy.steps):
        if position < first_position:
            continue
        share = Share(percent=step.percent, nodes=step.nodes)
        bounds = cutoffs(fleet.members, share, salt=salt, current=bounds)
        inside = {
            stratum: tuple(name for name in names if ranks[name] < bounds.get(stratum, 0))
            for stratum, names in fleet.members.items()
        }
        added = {
            stratum: tuple(sorted(set(names) - set(before.get(stratum, ()))))
            for stratum, names in inside.items()
        }
        found.append(Cohort(step, position, inside, added))
        before = inside
    return tuple(found)
