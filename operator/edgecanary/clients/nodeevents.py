"""What a node hears from its cluster, whichever way it is connected."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecanary.api.modelrelease import ModelRelease


@dataclass(frozen=True)
class ReleasesListed:
    """All releases there are, as of now. Those that are not in it are gone."""

    releases: tuple[ModelRelease, ...]
    unreadable: frozenset[tuple[str, str]] = frozenset()
    """Namespace and name of releases that are there and that this agent does not understand."""


@dataclass(frozen=True)
class ReleaseChanged:
    """A release is new or other than before."""

    release: ModelRelease


@dataclass(frozen=True)
class ReleaseGone:
    """A release was deleted."""

    namespace: str
    name: str


@dataclass(frozen=True)
class LabelsHeard:
    """The labels of the agent's own Node, and its UID; labels None when there is no such Node."""

    labels: Mapping[str, str] | None
    uid: str = ""


NodeEvent = ReleasesListed | ReleaseChanged | ReleaseGone | LabelsHeard
