"""The Lease that says which replica of the operator leads: read, and written only as it was read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.meta import ObjectMeta
from edgecanary.base.clock import Clock
from edgecanary.base.errors import NotFound, WrongAnswer
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import LEASES

LEASE_NAME = "edgecanary-operator"

RELEASED_SECONDS = 1
"""The duration of a Lease that its holder has given up, as other controllers write it, too."""


def _or_nothing(value: object) -> object:
    return "" if value is None else value


def _or_zero(value: object) -> object:
    return 0 if value is None else value


class _Spec(ApiModel):
    holder_identity: Annotated[str, BeforeValidator(_or_nothing)] = ""
    lease_duration_seconds: Annotated[int, BeforeValidator(_or_zero)] = 0
    lease_transitions: Annotated[int, BeforeValidator(_or_zero)] = 0


class _Lease(ApiModel):
    metadata: ObjectMeta
    spec: _Spec = Field(default_factory=_Spec)


@dataclass(frozen=True)
class Lease:
    """The Lease as it was at one version. `holder` is empty where nobody holds it."""

    uid: str
    version: str
    holder: str
    duration_seconds: int
    transitions: int
    """How often the holder has changed; every leader has a number of its own."""

    @property
    def released(self) -> bool:
        """Whether its last holder has said that it is through with it."""
        return not self.holder and self.duration_seconds == RELEASED_SECONDS


@dataclass(frozen=True)
class Claim:
    """What to write into the Lease. `holder` is empty for nobody."""

    holder: str
    duration_seconds: int
    transitions: int


class LeaseStore:
    """One Lease. Each write names the version that was read last and is a Conflict when it is not the newest."""

    def __init__(self, kube: KubeClient, namespace: str, clock: Clock) -> None:
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._body: JsonObject | None = None

    def read(self) -> Lease | None:
        """The Lease, None when there is none. Raises the API server's errors."""
        try:
            self._body = self._kube.get(LEASES, LEASE_NAME, namespace=self._namespace)
        except NotFound:
            self._body = None
            return None
        return _read(self._body)

    def write(self, claim: Claim) -> Lease:
        """Writes what is claimed: a new Lease where there was none, else the one that was read last.

        Raises Conflict (also AlreadyExists), NotFound and the API server's other errors.
        """
        now = _micro(self._clock.now())
        spec: JsonObject = {
            "holderIdentity": claim.holder,
            "leaseDurationSeconds": claim.duration_seconds,
            "leaseTransitions": claim.transitions,
            "renewTime": now,
        }
        if self._body is None:
            metadata: JsonObject = {"name": LEASE_NAME, "namespace": self._namespace}
            body: JsonObject = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": metadata,
                "spec": spec,
            }
            self._body = self._kube.create(LEASES, body, namespace=self._namespace)
            return _read(self._body)
        known = self._body.get("spec")
        before = known if isinstance(known, dict) else {}
        if before.get("holderIdentity") != claim.holder:
            spec["acquireTime"] = now
        written = {**self._body, "spec": {**before, **spec}}
        self._body = self._kube.replace(LEASES, LEASE_NAME, written, namespace=self._namespace)
        return _read(self._body)


def _read(body: JsonObject) -> Lease:
    try:
        found = _Lease.model_validate(body)
    except ValidationError as error:
        raise WrongAnswer("LeaseGarbage", f"the Lease {LEASE_NAME} cannot be read: {error}") from error
    return Lease(
        uid=found.metadata.uid,
        version=found.metadata.resource_version,
        holder=found.spec.holder_identity,
        duration_seconds=found.spec.lease_duration_seconds,
        transitions=found.spec.lease_transitions,
    )


def _micro(moment: datetime) -> str:
    """A MicroTime: the API server wants all six digits."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
