"""The usual alternative, measured: one object for each node instead of one release for all."""

import contextlib
import http.client
import json
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgelab.api import MERGE_PATCH
from edgelab.errors import LabError
from edgelab.fleet import Fleet


@dataclass(frozen=True)
class StepWrites:
    """What it takes to tell every node of a step. Times in seconds, one request after the other."""

    release_seconds: float
    objects: int
    objects_seconds: float


def measure_step(fleet: Fleet, namespace: str) -> StepWrites:
    """Write one object once, and one object for each node, over one connection that stays open."""
    names = [f"node-{node}" for node in fleet.agents]
    folder = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in names:
        fleet.control_plane.admin.create(folder, {"metadata": {"name": name}, "data": {"revision": "a" * 64}})
    body = json.dumps({"data": {"revision": "b" * 64}}).encode()
    with contextlib.closing(_connect(fleet)) as connection:
        _patch(connection, f"{folder}/{names[0]}", json.dumps({"data": {"warm": "up"}}).encode())
        begin = time.monotonic()
        _patch(connection, f"{folder}/{names[0]}", body)
        one = time.monotonic() - begin
        begin = time.monotonic()
        for name in names:
            _patch(connection, f"{folder}/{name}", body)
        return StepWrites(one, len(names), time.monotonic() - begin)


def _connect(fleet: Fleet) -> http.client.HTTPSConnection:
    address, trust = urlsplit(fleet.control_plane.url), fleet.control_plane.admin.credentials
    context = ssl.create_default_context(cafile=str(trust.authority))
    context.load_cert_chain(trust.certificate, trust.key)
    return http.client.HTTPSConnection(address.hostname or "", address.port, context=context, timeout=30)


def _patch(connection: http.client.HTTPSConnection, path: str, body: bytes) -> None:
    connection.request("PATCH", path, body, {"Content-Type": MERGE_PATCH})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise LabError(f"PATCH {path}: HTTP {response.status}: {content[:200].decode(errors='replace')}")
