"""Which revisions a node lets in: those that enough trusted keys signed for just this model and this node.

A node without trust roots has no `Trust`. What it decides about is new installs only: a revision that runs,
that comes back after a restart or that the node returns to was let in before, and nothing here touches it.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from edgecanary.agent import files
from edgecanary.agent.installer import Delay
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.record import Admission, Target, Verdict
from edgecanary.api.artifacts import Variant
from edgecanary.api.edgenode import ModelResult
from edgecanary.api.fields import ApiModel, Time
from edgecanary.artifact.envelope import Refused, read_envelope, verify
from edgecanary.artifact.signed import (
    SignedStatement,
    Surroundings,
    read_statement,
    surroundings_differ,
    variant_differs,
)
from edgecanary.base.clock import Clock, to_rfc3339
from edgecanary.clients.keyfiles import TrustRoots
from edgecanary.rollout.eligibility import NodeFacts, fitting_variant, misfits

log = logging.getLogger(__name__)

_MAX_KNOWN_BYTES = 4 * 2**20


class Known(ApiModel):
    """What the node remembers of the statements whose revisions it committed."""

    format_version: Literal[1] = 1
    issued: Time | None = None
    """The latest time at which one of them was issued: it has certainly passed."""
    floors: dict[str, int] = Field(default_factory=dict)
    """The highest sequence by model."""


@dataclass(frozen=True)
class Offered:
    """What a node is about to install or to run, and the signature that came with it."""

    revision: str
    variant: Variant
    surroundings: Surroundings
    signature: str | None


def assigned(target: Target) -> Offered:
    """What a release assigns."""
    said = target.statement
    around = Surroundings(said.io, said.golden, said.profile, said.serve)
    return Offered(target.revision, target.variant, around, said.signature)


def on_disk(installed: InstalledRevision, signature: str | None) -> Offered:
    """What is installed, and would run."""
    found = installed
    around = Surroundings(found.io, found.golden, found.profile, found.serve)
    return Offered(found.revision, found.variant, around, signature)


@dataclass
class Trust:
    """Lets revisions in, and remembers how far each model has come."""

    roots: TrustRoots
    path: Path
    """Where `Known` lies."""
    clock: Clock
    node: NodeFacts | None = None
    """What the node is; None while its labels were not heard."""
    _known: Known | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def admit(self, key: ModelKey, offered: Offered, *, floor: int = 0) -> Admission:
        """What is remembered of a revision that may be installed; `floor` is what the model's record knows.

        Raises Delay for one that may not, and OSError when the disk does not give out what is known.
        """
        try:
            return self._admit(key, offered, floor)
        except Refused as error:
            verdict = Verdict(
                result=ModelResult.PRECHECK_FAILED, reason=error.reason, message=f"{key}: {error}"
            )
            raise Delay(verdict, retry=error.reason in _MAY_PASS) from error

    def commit(self, key: ModelKey, admission: Admission) -> int:
        """Raises the model's floor to the admitted sequence, on disk. Returns the floor. Raises OSError."""
        with self._lock:
            known = self._load()
            floor = max(known.floors.get(str(key), 0), admission.sequence)
            issued = max(known.issued or admission.issued, admission.issued)
            if floor != known.floors.get(str(key)) or issued != known.issued:
                known = Known(issued=issued, floors={**known.floors, str(key): floor})
                files.write_atomic(self.path, known.model_dump_json(by_alias=True).encode())
                self._known = known
            return floor

    def _admit(self, key: ModelKey, offered: Offered, floor: int) -> Admission:
        if not offered.signature:
            raise Refused("Unsigned", "the release carries no signature and this node has trust roots")
        envelope = read_envelope(offered.signature)
        payload = verify(envelope, self.roots.keys, threshold=self.roots.threshold)
        signed = read_statement(payload, envelope.payload_type)
        if (signed.model.namespace, signed.model.name) != (key.namespace, key.name):
            raise Refused("WrongModel", f"the statement is for {signed.model.namespace}.{signed.model.name}")
        self._check_content(signed, offered)
        with self._lock:
            known = self._load()
        self._check_sequence(signed, max(floor, known.floors.get(str(key), 0)))
        self._check_time(signed, known)
        return Admission(sequence=signed.sequence, issued=signed.issued)

    def _check_content(self, signed: SignedStatement, offered: Offered) -> None:
        if signed.revision != offered.revision:
            text = f"the statement is for revision {signed.revision[:12]}, the release assigns {offered.revision[:12]}"
            raise Refused("StatementMismatch", f"{text}: sign what is in the EdgeModel")
        if self.node is None:
            raise Refused("NodeUnknown", "the labels of this node were not heard yet")
        spec = signed.spec
        fitting = fitting_variant(spec.variants, self.node, serve=spec.serve)
        if fitting is None:
            why = misfits(spec.variants, self.node, serve=spec.serve)
            raise Refused("WrongHardwareClass", f"no signed variant is for this node: {why}")
        if fitting.name != offered.variant.name:
            text = f"the signed variant for this node is {fitting.name}, the release gives {offered.variant.name}"
            raise Refused("WrongHardwareClass", text)
        if variant_differs(signed, offered.variant):
            text = f"variant {offered.variant.name} is not the signed one of revision {signed.revision[:12]}"
            raise Refused("StatementMismatch", text)
        if surroundings_differ(signed, offered.surroundings):
            text = f"io, golden, profile or serve are not the signed ones of revision {signed.revision[:12]}"
            raise Refused("StatementMismatch", text)

    def _check_sequence(self, signed: SignedStatement, floor: int) -> None:
        if signed.sequence < floor:
            text = f"the statement's sequence is {signed.sequence}, this node has committed {floor}"
            raise Refused("SequenceTooLow", f"{text}: sign the revision again to return to it")

    def _check_time(self, signed: SignedStatement, known: Known) -> None:
        """Compares with the latest time that has certainly passed: a clock that is behind counts for nothing."""
        now = max(self.clock.now(), signed.issued, known.issued or signed.issued)
        if signed.expires <= now:
            text = f"the statement expired at {to_rfc3339(signed.expires)}, it is {_seconds(now)} here"
            raise Refused(
                "Expired", f"{text}: sign the revision again, or set the node's clock if that is wrong"
            )

    def _load(self) -> Known:
        """What is known. A file that cannot be understood is put aside: the models' records know their floors."""
        if self._known is not None:
            return self._known
        try:
            with self.path.open("rb") as file:
                self._known = Known.model_validate_json(file.read(_MAX_KNOWN_BYTES))
        except FileNotFoundError:
            self._known = Known()
        except ValidationError as error:
            log.error("%s: cannot be read and is put aside: %s", self.path, error)
            self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
            self._known = Known()
        return self._known


_MAY_PASS = frozenset({"Expired", "NodeUnknown"})
"""Refusals that time alone may end: a clock is set, the labels are heard."""


def _seconds(moment: datetime) -> str:
    return to_rfc3339(moment.replace(microsecond=0))
