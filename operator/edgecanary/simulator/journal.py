"""What happened, in lines that a person can read: when, who, what, and where the rollout stood."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecanary.api.meta import ConditionType
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.rollout.conditions import find_condition

HEAD = (
    f"{'time':<13} {'who':<9} {'what':<18} {'step':<14} {'updated':>9} {'failed':>6} {'online':>9}  "
    f"{'gates':<9} ready"
)


@dataclass(frozen=True)
class Entry:
    """One line. `standing` is the rollout's state in columns; empty for what others did."""

    moment: float
    who: str
    what: str
    text: str = ""
    standing: str = ""

    def __str__(self) -> str:
        start = f"{clock(self.moment):<13} {self.who:<9} "
        if not self.standing:
            return f"{start}{self.what}{': ' if self.text else ''}{self.text}".rstrip()
        line = f"{start}{self.what:<18} {self.standing}".rstrip()
        return "\n".join([line, *_paragraph(self.text)]) if self.text else line


@dataclass
class Journal:
    """The lines so far, and what the operator's last one said."""

    entries: list[Entry] = field(default_factory=list)
    _last: tuple[str, ...] = ()

    def note(self, moment: float, who: str, what: str, text: str = "") -> None:
        """What somebody did."""
        self.entries.append(Entry(moment, who, what, text))

    def tell(self, moment: float, what: str, text: str, status: RolloutStatus) -> None:
        """An Event of the operator's, with where the rollout stands."""
        self.entries.append(Entry(moment, "operator", what, text, standing(status)))
        self._last = _essence(status)

    def stand(self, moment: float, status: RolloutStatus) -> None:
        """Where the rollout stands, when that is news."""
        if _essence(status) != self._last:
            self.tell(moment, "", "", status)

    def text(self, title: Sequence[str] = ()) -> str:
        """All lines below a title."""
        head = [f"# {line}".rstrip() for line in title]
        return "\n".join([*head, HEAD, *map(str, self.entries)]) + "\n"


def _paragraph(text: str) -> list[str]:
    space = " " * 24
    return textwrap.wrap(
        text,
        124,
        initial_indent=space,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


def clock(moment: float) -> str:
    """A moment as days, hours, minutes and seconds since the start."""
    seconds = int(moment)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    return f"{seconds // 86400}d {hours:02}:{minutes:02}:{seconds % 60:02}"


def standing(status: RolloutStatus) -> str:
    """Where a rollout stands, in columns."""
    nodes, analysis = status.nodes, status.analysis
    ready, reason = _ready(status)
    step = status.step.display if status.step else "-"
    updated = f"{nodes.updated}/{nodes.in_step}" if status.step else nodes.display
    gates = analysis.display if analysis and status.step and analysis.display else "-"
    online = f"{nodes.online}/{nodes.targeted}"
    return f"{step:<14} {updated:>9} {nodes.failed:>6} {online:>9}  {gates:<9} {ready} {reason}"


def _ready(status: RolloutStatus) -> tuple[str, str]:
    condition = find_condition(status.conditions, ConditionType.READY)
    return (condition.status, condition.reason) if condition else ("-", "-")


def _essence(status: RolloutStatus) -> tuple[str, ...]:
    """What must differ for a line of its own: counts alone do not."""
    gates = status.analysis.display if status.analysis and status.step else ""
    step = f"{status.attempt} {status.step.display}" if status.step else ""
    return (*_ready(status), step, gates)
