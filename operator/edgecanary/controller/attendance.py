"""For how long agents have been silent and models have been on their way, by the operator's own clock.

A node's clock may be wrong by years, so what counts is when this process saw a report change. It looks when the
metrics are asked for and keeps nothing about nodes that are not Ready: they are offline, not silent or slow.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from edgecanary.api.edgenode import ModelState
from edgecanary.controller.sight import Sight
from edgecanary.controller.views import EdgeNodeRecord, ObjectKey

SILENT_SECONDS = 1800.0
"""An agent reports every 10 minutes, unless it was told otherwise; three reports may be missed."""

HELD_REASONS = frozenset(
    {
        "OutsideWindow",
        "Metered",
        "LinkUnknown",
        "OnBattery",
        "PowerUnknown",
        "TooHot",
        "TemperatureUnknown",
        "HeldByApplication",
        "HoldUnanswered",
    }
)
"""Reasons of a pending model that waits for its device or an update window, as docs/guides/nodes.md has them."""


class Attending(StrEnum):
    """What an agent is to the operator."""

    REPORTING = "reporting"
    SILENT = "silent"
    """Its Node is Ready, and nothing was heard of it for SILENT_SECONDS."""
    OFFLINE = "offline"
    """Its Node is not Ready."""


@dataclass(frozen=True)
class Roll:
    """The fleet's agents at one moment; times in seconds."""

    agents: Mapping[Attending, int] = field(default_factory=dict)
    longest_silence: float = 0.0
    """Of an agent whose Node is Ready."""
    models: Mapping[ModelState, int] = field(default_factory=dict)
    """Models on nodes by what the agents last said, offline ones included."""
    pending: Mapping[tuple[ObjectKey, bool], float] = field(default_factory=dict)
    """By EdgeModel, and whether the device holds it: for how long the slowest online node has been pending."""


@dataclass(frozen=True)
class _Heard:
    heartbeat: datetime | None
    at: float


@dataclass(frozen=True)
class _Way:
    """One model on its way on one node: to a revision, and whether the device holds it."""

    node: str
    model: ObjectKey
    desired: str | None
    held: bool


class Attendance:
    """Remembers since when. Safe to use from several threads."""

    def __init__(self) -> None:
        self._heard: Mapping[str, _Heard] = {}
        self._ways: Mapping[_Way, float] = {}
        self._lock = threading.Lock()

    def look(self, sight: Sight, now: float) -> Roll:
        """Calls the roll; `now` in seconds on a clock that never goes back."""
        with self._lock:
            online = {
                name: agent
                for name, agent in sight.agents.items()
                if (node := sight.nodes.get(name)) is not None and node.ready
            }
            offline = sum(name in sight.nodes for name in sight.agents) - len(online)
            self._heard = {name: self._hear(name, agent, now) for name, agent in online.items()}
            self._ways = {
                way: self._ways.get(way, now) for name, agent in online.items() for way in _ways(name, agent)
            }
            return self._roll(sight, now, offline)

    def _hear(self, name: str, agent: EdgeNodeRecord, now: float) -> _Heard:
        known = self._heard.get(name)
        if known is not None and known.heartbeat == agent.heartbeat:
            return known
        return _Heard(agent.heartbeat, now)

    def _roll(self, sight: Sight, now: float, offline: int) -> Roll:
        silences = [now - heard.at for heard in self._heard.values()]
        silent = sum(silence > SILENT_SECONDS for silence in silences)
        pending: dict[tuple[ObjectKey, bool], float] = {}
        for way, since in self._ways.items():
            key = (way.model, way.held)
            pending[key] = max(pending.get(key, 0.0), now - since)
        states = Counter(
            report.state
            for name, agent in sight.agents.items()
            if name in sight.nodes
            for report in agent.models.values()
        )
        return Roll(
            agents={
                Attending.REPORTING: len(silences) - silent,
                Attending.SILENT: silent,
                Attending.OFFLINE: offline,
            },
            longest_silence=max(silences, default=0.0),
            models={state: states[state] for state in ModelState},
            pending=pending,
        )


def _ways(name: str, agent: EdgeNodeRecord) -> list[_Way]:
    return [
        _Way(name, model, report.desired, report.reason in HELD_REASONS)
        for model, report in agent.models.items()
        if report.state is ModelState.PENDING
    ]
