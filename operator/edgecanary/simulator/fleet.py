"""Nodes drawn from a seed, or read from a file: what they are, and how they come and go."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from edgecanary.api.artifacts import Format
from edgecanary.rollout.eligibility import NodeFacts
from edgecanary.simulator.settings import HOUR, Duty, FleetSettings, LabelMix, Link

RUNTIMES = frozenset({Format.ONNX})


@dataclass(frozen=True)
class NodeTraits:
    """What a simulated node is. `seed` makes its random numbers, whatever the other nodes do."""

    facts: NodeFacts
    link: Link
    clock_offset: float
    """By how many seconds its clock is ahead."""
    seed: str

    @property
    def name(self) -> str:
        """The node's name."""
        return self.facts.name

    def luck(self, about: str) -> float:
        """A number between 0 and 1 that is the same for the same node, seed and subject."""
        return Random(f"{self.seed}/{about}").random()  # noqa: S311 - a simulation, no secret


def draw_fleet(settings: FleetSettings, seed: int) -> tuple[NodeTraits, ...]:
    """The fleet that the settings and the seed mean."""
    width = max(2, len(str(max(0, settings.nodes - 1))))
    names = [f"node-{index:0{width}}" for index in range(settings.nodes)]
    labels = _spread_labels(names, settings.mixes, Random(f"{seed}/labels"))  # noqa: S311
    facts = [
        NodeFacts(
            name=name,
            labels={**settings.labels, **labels[name]},
            architecture=settings.architecture,
            memory_bytes=settings.memory_bytes,
            runtimes=RUNTIMES,
        )
        for name in names
    ]
    return equip(facts, settings, seed)


def equip(facts: Sequence[NodeFacts], settings: FleetSettings, seed: int) -> tuple[NodeTraits, ...]:
    """Links and clocks for nodes that are known."""
    return tuple(_equip(item, settings, seed) for item in facts)


def relabelled(traits: NodeTraits, labels: Mapping[str, str]) -> NodeTraits:
    """The node with other labels."""
    return replace(traits, facts=replace(traits.facts, labels=dict(labels)))


def _equip(facts: NodeFacts, settings: FleetSettings, seed: int) -> NodeTraits:
    random = Random(f"{seed}/{facts.name}/traits")  # noqa: S311
    link = random.choices(settings.links, weights=[link.share for link in settings.links])[0]
    return NodeTraits(
        facts=facts,
        link=link,
        clock_offset=random.gauss(0.0, settings.trouble.clock_spread_seconds),
        seed=f"{seed}/{facts.name}",
    )


def _spread_labels(
    names: Sequence[str], mixes: Sequence[LabelMix], random: Random
) -> dict[str, dict[str, str]]:
    """Each value on its share of the nodes, one at least where there are nodes enough."""
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for mix in mixes:
        values: list[str] = []
        for value, share in mix.shares.items():
            values += [value] * max(1, math.floor(share * len(names) + 0.5))
        first = next(iter(mix.shares))
        values = (values + [first] * len(names))[: len(names)]
        random.shuffle(values)
        for name, value in zip(names, values, strict=True):
            found[name][mix.key] = value
    return found


def presence(duty: Duty) -> float:
    """Mean length of a time online, in seconds."""
    return duty.away_hours * HOUR * duty.online / (1 - duty.online)
