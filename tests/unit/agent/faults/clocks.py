"""Wrong clocks: by how much, and from which moment of an update on."""

from dataclasses import dataclass
from datetime import timedelta

from edgecanary.agent.machine import State

OFF = {
    "an hour ahead": timedelta(hours=1),
    "an hour behind": timedelta(hours=-1),
    "a year ahead": timedelta(days=365),
    "a year behind": timedelta(days=-365),
}
FROM = (None, State.DOWNLOAD, State.PROBE, State.WINDOW, State.HEALTH)
"""The state in which the clock jumps; None: it was wrong from the start."""


@dataclass(frozen=True)
class WrongClock:
    """One case."""

    off: str
    since: State | None

    def __str__(self) -> str:
        return f"{self.off}, {f'from {self.since} on' if self.since else 'from the start'}"


CLOCKS = [WrongClock(off, since) for off in OFF for since in FROM]
