"""What came of the traffic: by agent, by revision, and when."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT_TIMES = 20_000
"""Times of requests kept for each agent and revision: over an hour at 5 a second."""

KEPT_FAILURES = 100


@dataclass(frozen=True)
class RevisionCount:
    """Answers of one revision; times are in seconds since the epoch."""

    answered: int = 0
    correct: int = 0
    incorrect: int = 0
    first_answer: float | None = None
    last_answer: float | None = None
    first_incorrect: float | None = None

    def __add__(self, other: "RevisionCount") -> "RevisionCount":
        return RevisionCount(
            self.answered + other.answered,
            self.correct + other.correct,
            self.incorrect + other.incorrect,
            min(_known(self.first_answer, other.first_answer), default=None),
            max(_known(self.last_answer, other.last_answer), default=None),
            min(_known(self.first_incorrect, other.first_incorrect), default=None),
        )


@dataclass(frozen=True)
class AgentCount:
    """What one agent made of its requests."""

    revisions: Mapping[str, RevisionCount]
    failed: Mapping[str, int]
    """Requests without an answer, by kind: connection, timeout, garbled, or the HTTP status."""
    feedback_failed: Mapping[str, int]
    """Feedback that the agent did not take, by the same kinds."""


@dataclass(frozen=True)
class Failure:
    """One request, or feedback, that failed."""

    time: float
    agent: str
    kind: str
    message: str


@dataclass(frozen=True)
class TrafficReport:
    """The counts of all agents at one moment."""

    agents: Mapping[str, AgentCount]

    @property
    def answered(self) -> int:
        """Requests answered, rightly or wrongly."""
        return sum(count.answered for count in self.revisions().values())

    @property
    def correct(self) -> int:
        """Requests answered rightly."""
        return sum(count.correct for count in self.revisions().values())

    @property
    def incorrect(self) -> int:
        """Requests answered wrongly."""
        return sum(count.incorrect for count in self.revisions().values())

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failed_by_kind().values())

    def failed_by_kind(self) -> dict[str, int]:
        """Requests without an answer, by kind, over all agents."""
        total: Counter[str] = Counter()
        for agent in self.agents.values():
            total.update(agent.failed)
        return dict(total)

    def revisions(self) -> dict[str, RevisionCount]:
        """The counts of each revision over all agents."""
        total: dict[str, RevisionCount] = {}
        for agent in self.agents.values():
            for revision, count in agent.revisions.items():
                total[revision] = total.get(revision, RevisionCount()) + count
        return total


@dataclass
class Tally:
    """The counts of one agent while they grow."""

    revisions: dict[str, RevisionCount] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    feedback_failed: Counter[str] = field(default_factory=Counter)
    _sent: dict[str, deque[float]] = field(default_factory=dict)

    def answer(self, revision: str, *, correct: bool, sent: float, received: float) -> None:
        """Count an answer."""
        one = RevisionCount(
            answered=1,
            correct=int(correct),
            incorrect=int(not correct),
            first_answer=received,
            last_answer=received,
            first_incorrect=None if correct else received,
        )
        self.revisions[revision] = self.revisions.get(revision, RevisionCount()) + one
        self._sent.setdefault(revision, deque(maxlen=KEPT_TIMES)).append(sent)

    def answered_since(self, revision: str, moment: float) -> int:
        """Requests sent at `moment` or later that this revision answered."""
        return sum(sent >= moment for sent in self._sent.get(revision, ()))

    def frozen(self) -> AgentCount:
        """The counts as they are now."""
        return AgentCount(dict(self.revisions), dict(self.failed), dict(self.feedback_failed))


def _known(*times: float | None) -> list[float]:
    return [time for time in times if time is not None]
