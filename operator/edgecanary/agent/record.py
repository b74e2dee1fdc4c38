"""What the agent remembers of each model, on disk, in one file a model.

The file is written before each state is entered. It names the last outcome as well, so a report can always
be built from it: with no network nothing is lost.
"""

from typing import Final, Literal

from pydantic import Field

from edgecanary.agent.health import Figures
from edgecanary.agent.machine import State
from edgecanary.agent.ports import ModelKey
from edgecanary.api.edgenode import ModelResult, ModelState, ProbeMeasurement, Transfer
from edgecanary.api.fields import ApiModel, Time
from edgecanary.api.modelrelease import ReleasedVariant, RevisionStatement
from edgecanary.api.policy import DeviceHealth, UpdateWindow

FORMAT_VERSION: Final = 2
"""Version of the record's format; the first one had no checksum and is still read."""

MAX_REJECTIONS = 32

DISK_FAILED: Final = "DiskFailed"
"""The reason of what waits for the data directory to be written again."""

_DELIVERY = (ModelResult.DOWNLOAD_FAILED, ModelResult.VERIFY_FAILED)


class Verdict(ApiModel):
    """Why a revision did not make it, or has to wait."""

    result: ModelResult
    reason: str
    message: str


class Rejection(ApiModel):
    """A revision that failed on this node, and the attempt in which it did."""

    revision: str
    attempt: int
    verdict: Verdict
    time: Time


class Admission(ApiModel):
    """What is remembered of the signed statement by which a revision was let in."""

    sequence: int
    issued: Time


class Target(ApiModel):
    """The revision that is being worked on, with all that is needed to finish without a network."""

    statement: RevisionStatement
    """Names just the variant that fits this node; all of them when none fits."""
    misfit: str = ""
    """Why no variant fits; empty when one does."""
    attempt: int
    """The canary's attempt; 0 for a stable revision."""
    proven: bool = False
    """The revision was committed on this node before and is on its disk."""
    windows: tuple[UpdateWindow, ...] = ()
    health: DeviceHealth = Field(default_factory=DeviceHealth)
    priority: int = 0
    crashes: int = 0
    """Processes that died while the revision was on trial."""
    verdict: Verdict | None = None
    """Set when the revision failed and is being rolled back."""
    probe: ProbeMeasurement | None = None
    admitted: Admission | None = None
    """Set once what is installed was found to be signed and was switched to; only on nodes with trust roots."""
    transfer: Transfer | None = None
    """What was fetched for it."""

    @property
    def revision(self) -> str:
        """The revision's digest."""
        return self.statement.revision

    @property
    def variant(self) -> ReleasedVariant:
        """The variant for this node."""
        return self.statement.variants[0]


class Outcome(ApiModel):
    """How the last order ended, or what it waits for: what is reported."""

    desired: str | None = None
    state: ModelState = ModelState.PENDING
    result: ModelResult = ModelResult.NONE
    reason: str = ""
    message: str = ""
    attempt: int = 0
    sequence: int = 0
    transition_time: Time | None = None
    probe: ProbeMeasurement | None = None
    transfer: Transfer | None = None

    def differs_from(self, other: "Outcome") -> bool:
        """Whether there is anything new in this one, for whoever reads the node's next report."""
        return self.essence != other.essence or self.reason != other.reason

    def is_news_after(self, other: "Outcome") -> bool:
        """Whether this is worth a report of its own after `other`.

        It is not when a delivery that failed in one way now fails in another.
        """
        if self.result in _DELIVERY and other.result in _DELIVERY and self.essence == other.essence:
            return False
        return self.differs_from(other)

    @property
    def essence(self) -> tuple[object, ...]:
        """What the outcome says but for the reason; all failures of delivery say the same."""
        result = ModelResult.DOWNLOAD_FAILED if self.result in _DELIVERY else self.result
        return self.desired, self.state, result, self.attempt


class Record(ApiModel):
    """All that the agent knows of one model."""

    format_version: Literal[2] = FORMAT_VERSION
    namespace: str
    name: str
    release_uid: str = ""
    """UID of the ModelRelease that is followed."""
    sequence: int = 0
    """The highest sequence of that release that was heard; a lower one is ignored."""
    state: State = State.SETTLED
    active: str | None = None
    """The committed revision; it serves unless a target is on trial."""
    previous: str | None = None
    """The revision that was active before; it stays on disk."""
    abandoned: str | None = None
    """The revision that was left by order of a release, for one before it: there is no going back to it."""
    target: Target | None = None
    rejected: tuple[Rejection, ...] = ()
    floor: int = 0
    """The highest sequence of a signed statement that was committed; a lower one is refused."""
    outcome: Outcome = Outcome()
    health: DeviceHealth = Field(default_factory=DeviceHealth)
    """What the release tolerates of the active revision, as it was heard last."""
    priority: int = 0
    """The model's priority in the node's memory, as it was heard last."""
    crashes: int = 0
    """Processes that died while the active revision was loaded or ran; an hour without one clears it."""
    failing: Verdict | None = None
    """Set when the active revision is beyond its limits: it is about to be replaced, or nothing better is there."""
    memory: dict[str, int] = Field(default_factory=dict)
    """Bytes that the active and the previous revision took in their probes."""
    figures: tuple[Figures, ...] = ()
    """What the active and the previous revision did here."""
    alive: bool = False
    """A process works on this; one that ends in order clears it. Found set at a start, it has died."""
    repair: str = ""
    """What of the agent's own files was damaged and how it was made good; told until another revision is taken up."""
    trouble: str = Field(default="", exclude=True)
    """Why the disk takes no records now; known to this process only."""

    @property
    def key(self) -> ModelKey:
        """The model's key."""
        return ModelKey(self.namespace, self.name)

    @property
    def needed(self) -> frozenset[str]:
        """The revisions whose files must stay on disk."""
        target = self.target.revision if self.target else None
        return frozenset(revision for revision in (self.active, self.previous, target) if revision)

    @property
    def way_back(self) -> str | None:
        """The revision to go back to from the active one; None when there is none that may serve."""
        unfit = {entry.revision for entry in self.rejected} | {self.abandoned}
        return None if self.previous in unfit else self.previous

    def figures_of(self, revision: str | None) -> Figures | None:
        """What the revision did here, as far as that was kept."""
        return next((entry for entry in self.figures if entry.revision == revision), None)

    def measured(self, found: Figures) -> "Record":
        """The record with figures of a revision, unless better ones are known; those of strangers leave."""
        known = self.figures_of(found.revision)
        if known is not None and known.usual and not found.usual:
            return self
        kept = {revision for revision in (self.active, self.previous) if revision} - {found.revision}
        others = tuple(entry for entry in self.figures if entry.revision in kept)
        return self.model_copy(update={"figures": (*others, found)})

    def aiming(self, target: Target, **changes: object) -> "Record":
        """The record with the target changed so."""
        return self.model_copy(update={"target": target.model_copy(update=changes)})

    def rejection_of(self, revision: str, attempt: int) -> Rejection | None:
        """The local rejection that still holds for an attempt at the revision."""
        return next(
            (entry for entry in self.rejected if entry.revision == revision and entry.attempt >= attempt),
            None,
        )

    def rejecting(self, rejection: Rejection) -> "Record":
        """The record with the rejection in it; the oldest give way."""
        others = tuple(entry for entry in self.rejected if entry.revision != rejection.revision)
        return self.model_copy(update={"rejected": (*others, rejection)[-MAX_REJECTIONS:]})


def new_record(key: ModelKey) -> Record:
    """The record of a model that the node hears of for the first time."""
    return Record(namespace=key.namespace, name=key.name)
