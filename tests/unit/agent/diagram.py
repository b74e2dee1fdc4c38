"""The agent's states as a diagram in its guide, drawn from the one table."""

import re
from pathlib import Path

from edgecanary.agent.machine import TRANSITIONS, Event, State

ROOT = Path(__file__).parents[3]
GUIDE = Path("docs/guides/agent.md")
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
_RESTARTS = (Event.RESTARTED, Event.CRASHED)


def generated() -> dict[Path, str]:
    """The guide with the diagrams that the table gives now."""
    text = (ROOT / GUIDE).read_text()
    blocks = iter([_drawn(restarts=False), _drawn(restarts=True)])
    found, count = _DIAGRAM.subn(lambda _: next(blocks), text)
    assert count == 2, "the guide has two diagrams"
    return {GUIDE: found}


def _drawn(*, restarts: bool) -> str:
    """What follows what; with `restarts`, what a new process makes of each state."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        if (event in _RESTARTS) == restarts:
            arrows.setdefault((before, after), []).append(event.value)
    lines = [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> Settled", *lines, "```"])
