"""Who of a fleet a rollout is for, and in which strata: what does not depend on reports.

It changes when nodes come, go or change labels, and a rollout is looked at far more often than that. So the
last rosters are remembered, and hold as long as the fleet's facts are equal to those that they were made from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import itemgetter, not_
from typing import TypeVar

from edgecanary.api.artifacts import Variant
from edgecanary.api.meta import LabelSelector
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.base.memory import Memory
from edgecanary.rollout.cohort import Strata, Stratum, strata_of
from edgecanary.rollout.eligibility import NodeFacts, fitting
from edgecanary.rollout.selector import matcher

T = TypeVar("T")

_KEPT_NODES = 400_000
"""How many nodes the remembered rosters may have together."""

_KEPT_GROUPINGS = 2


@dataclass(frozen=True)
class Grouping:
    """Eligible nodes by stratum: their names, and their positions among the eligible nodes."""

    strata: Strata
    places: Mapping[Stratum, Sequence[int]]


@dataclass(frozen=True)
class Roster:
    """Positions in the fleet, in the order of names: of nodes that a variant fits, and of those that none fits."""

    facts: tuple[NodeFacts, ...]
    eligible: Sequence[int]
    incompatible: Sequence[int]
    _groupings: Memory[Grouping] = field(
        default_factory=lambda: Memory(_KEPT_GROUPINGS), repr=False, compare=False
    )
    _counts: Memory[int] = field(default_factory=lambda: Memory(_KEPT_GROUPINGS), repr=False, compare=False)

    def grouping(self, keys: Sequence[str]) -> Grouping:
        """The eligible nodes by the values of these label keys."""
        wanted = tuple(keys)
        known = self._groupings.get(wanted)
        return known or self._groupings.put(wanted, self._group(wanted), size=1)

    def count_strata(self, keys: Sequence[str]) -> int:
        """How many strata the eligible nodes fall into."""
        wanted = tuple(keys)
        known = self._counts.get(wanted)
        if known is None:
            nodes = pick(self.eligible, self.facts)
            known = len(set(strata_of([node.labels for node in nodes], wanted)))
            self._counts.put(wanted, known, size=1)
        return known

    def _group(self, keys: tuple[str, ...]) -> Grouping:
        nodes = pick(self.eligible, self.facts)
        places: dict[Stratum, list[int]] = {}
        for place, stratum in enumerate(strata_of([node.labels for node in nodes], keys)):
            if (known := places.get(stratum)) is not None:
                known.append(place)
            else:
                places[stratum] = [place]
        names = {stratum: [nodes[place].name for place in found] for stratum, found in places.items()}
        return Grouping(Strata(names), places)


_ROSTERS: Memory[Roster] = Memory(_KEPT_NODES)


def roster(
    selector: LabelSelector, facts: tuple[NodeFacts, ...], statement: RevisionStatement | None
) -> Roster:
    """Whom the selector matches, split by whether a variant of the statement fits; without one, none does."""
    variants, serve = (statement.variants, statement.serve) if statement else ((), True)
    key = (selector.model_dump_json(), serve, *(_needs(variant) for variant in variants))
    return _remembered(key, facts) or _ROSTERS.put(
        key, _make(selector, facts, variants, serve=serve), size=len(facts)
    )


def everybody(selector: LabelSelector, facts: tuple[NodeFacts, ...]) -> Roster:
    """Whom the selector matches, whatever fits."""
    key = (selector.model_dump_json(),)
    known = _remembered(key, facts)
    return known or _ROSTERS.put(key, Roster(facts, _selected(selector, facts), ()), size=len(facts))


def pick(positions: Sequence[int], items: tuple[T, ...]) -> tuple[T, ...]:
    """The items at the positions."""
    if len(positions) < 2:
        return tuple(items[position] for position in positions)
    found: tuple[T, ...] = itemgetter(*positions)(items)
    return found


def _remembered(key: tuple[object, ...], facts: tuple[NodeFacts, ...]) -> Roster | None:
    known = _ROSTERS.get(key)
    if known is None or not (known.facts is facts or known.facts == facts):
        return None
    return known


def _needs(variant: Variant) -> tuple[str, str]:
    """All of a variant that decides whom it fits."""
    return variant.format, variant.requires.model_dump_json() if variant.requires else ""


def _make(
    selector: LabelSelector, facts: tuple[NodeFacts, ...], variants: Sequence[Variant], *, serve: bool
) -> Roster:
    selected = everybody(selector, facts).eligible
    fits = fitting(variants, pick(selected, facts), serve=serve)
    return Roster(
        facts,
        eligible=tuple(compress(selected, fits)),
        incompatible=tuple(compress(selected, map(not_, fits))),
    )


def _selected(selector: LabelSelector, facts: tuple[NodeFacts, ...]) -> tuple[int, ...]:
    meets = matcher(selector)
    found = [(node.name, position) for position, node in enumerate(facts) if meets(node.labels)]
    return tuple(position for _, position in sorted(found))
