"""What the durable half of the agent asks of the half that runs models."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from edgecanary.api.artifacts import Golden, ModelIO, Profile, Variant
from edgecanary.base.errors import EdgecanaryError


@dataclass(frozen=True)
class ModelKey:
    """Which EdgeModel: its namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"


@dataclass(frozen=True)
class InstalledRevision:
    """A revision whose files are on this disk, verified."""

    key: ModelKey
    revision: str
    """Digest of the revision, 64 hexadecimal digits."""
    version: str
    """The version that people gave it."""
    directory: Path
    """Holds the variant's files under their paths."""
    variant: Variant
    io: ModelIO
    golden_path: Path | None
    golden: Golden | None
    serve: bool
    """False when the files are only delivered, not served."""
    profile: Profile | None = None
    profile_path: Path | None = None
    """The drift profile, if the model has one."""


@dataclass(frozen=True)
class ProbeReport:
    """What a passed probe measured."""

    load_milliseconds: int
    latency_p95_milliseconds: int
    peak_memory_bytes: int
    cases: int
    """Golden cases that ran; 0 without a golden file."""
    sandbox: tuple[str, ...] = ()
    """The layers of the sandbox that were in force."""


class ProbeFailed(EdgecanaryError):
    """The revision must not serve here.

    The reason is one of LoadFailed, IOMismatch, OperatorRefused, ExternalDataRefused, GoldenInvalid,
    GoldenMismatch, BudgetExceeded, ProbeTimeout, ProbeCrashed and UnsupportedFormat; the message names the
    tensor or field, the value and the rule.
    """


class ProbeImpossible(EdgecanaryError):
    """The node cannot try the revision now, through no fault of the model; it is tried again."""


class ModelLoadFailed(EdgecanaryError):
    """The serving process could not load or warm the revision; what served before still serves."""

    def __init__(self, message: str) -> None:
        super().__init__("ModelLoadFailed", message)


class Prober(Protocol):
    """Tries a revision away from the serving process."""

    async def probe(self, installed: InstalledRevision) -> ProbeReport:
        """Loads the revision and runs its golden cases. Raises ProbeFailed and ProbeImpossible."""
        ...


@dataclass(frozen=True)
class HealthCounters:
    """What a revision answered since its last activation in this process."""

    requests: int
    errors: int
    not_finite: int = 0
    """Errors that were values which are not finite, for inputs that were."""
    latencies: tuple[int, ...] = field(default=(), compare=False)
    """Answers that were no errors, by the buckets of `latency`; empty is all zeros."""
    timeouts_in_a_row: int = 0
    """Requests that ran out of time since the last one that was answered."""
    hung: bool = False
    """An inference goes on though it was interrupted: its thread does not come back."""

    def since(self, earlier: "HealthCounters") -> "HealthCounters":
        """What was added after `earlier`; what a count in a row and `hung` say is of now."""
        before = earlier.latencies or (0,) * len(self.latencies)
        return replace(
            self,
            requests=self.requests - earlier.requests,
            errors=self.errors - earlier.errors,
            not_finite=self.not_finite - earlier.not_finite,
            latencies=tuple(now - then for now, then in zip(self.latencies, before, strict=True)),
        )


class ModelServer(Protocol):
    """Serves the active revision of each model."""

    async def activate(self, installed: InstalledRevision) -> None:
        """Loads and warms the revision, then switches to it at once; older requests finish on the old one.

        Raises ModelLoadFailed, in which case nothing has changed.
        """
        ...

    async def deactivate(self, key: ModelKey) -> None:
        """Stops serving the model; requests then get an error that says so. Unknown keys are fine."""
        ...

    async def evict(self, key: ModelKey, why: str) -> None:
        """Unloads the model for now; its requests get an error that says why, and to come again."""
        ...

    def compare(self, key: ModelKey, other: InstalledRevision | None) -> bool:
        """Lets another revision of a model that is served see a share of its inputs, where the node is set to.

        None ends that, and so does the next activation or deactivation. Whatever goes wrong with it changes no
        answer. Whether there is anything to compare.
        """
        ...

    def counters(self, key: ModelKey, revision: str) -> HealthCounters:
        """What the revision answered since its last activation; zeros when it was never active."""
        ...

    async def more_answers(self, key: ModelKey, revision: str, seen: HealthCounters) -> None:
        """Waits until the revision's counters differ from `seen`; for ever while it is not active."""
        ...
