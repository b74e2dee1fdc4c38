"""What was asked of the API server, by whom: its audit log, read back."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})

POLICY = json.dumps(
    {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "rules": [
            {"level": "None", "users": ["system:apiserver"]},
            {"level": "None", "nonResourceURLs": ["/*"]},
            {"level": "Metadata"},
        ],
    }
)
"""Every finished request for a resource, with who, what and how it ended, but without bodies."""


@dataclass(frozen=True)
class Request:
    """One finished request.

    Attributes:
        user: who asked.
        node: the Node that the asker's token is bound to, empty for other credentials.
        verb: create, update, patch, delete, deletecollection, get, list or watch.
        resource: the plural, with the subresource after a slash (`rollouts/status`).
        namespace: of the object, empty for cluster-wide ones.
        name: of the object, empty for lists and for names the server makes up.
        code: the HTTP status of the answer.
        time: when the request arrived.
    """

    user: str
    node: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    time: datetime

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change, with or without success."""
        return self.verb in WRITE_VERBS


@dataclass(frozen=True)
class AuditLog:
    """The audit log of a control plane that was made with `audit=True`."""

    path: Path

    def requests(self) -> Iterator[Request]:
        """All finished requests so far, the oldest first."""
        if not self.path.exists():
            return
        with self.path.open() as log:
            for line in log:
                if line.endswith("\n"):
                    yield _request(json.loads(line))

    def writes(self) -> Iterator[Request]:
        """The requests that asked for a change."""
        return (request for request in self.requests() if request.is_write)

    def writes_by_user(self) -> Counter[tuple[str, str]]:
        """How often each (user, verb) asked for a change."""
        return count(self.writes())


def count(requests: Iterable[Request]) -> Counter[tuple[str, str]]:
    """How many of the requests came from each (user, verb)."""
    return Counter((request.user, request.verb) for request in requests)


def _node(user: Mapping[str, object]) -> str:
    extra = user.get("extra")
    names = extra.get("authentication.kubernetes.io/node-name") if isinstance(extra, dict) else None
    return str(names[0]) if names else ""


def _request(event: dict[str, dict[str, str]]) -> Request:
    target = event.get("objectRef", {})
    resource = target.get("resource", "")
    if subresource := target.get("subresource"):
        resource = f"{resource}/{subresource}"
    return Request(
        user=event["user"]["username"],
        node=_node(event["user"]),
        verb=str(event["verb"]),
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=int(event.get("responseStatus", {}).get("code", 0)),
        time=datetime.fromisoformat(str(event["requestReceivedTimestamp"])),
    )
