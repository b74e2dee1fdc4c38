"""A small JSON client of the API server, for what a test does by hand and kubectl does too slowly."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgelab.errors import ApiError, LabError

JsonObject = dict[str, Any]
"""A Kubernetes object as JSON: its shape depends on its kind."""

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Credentials:
    """How a client proves who it is and whom it trusts."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Token:
    """A bearer token, and whom its client trusts."""

    authority: Path
    token: str


class ApiClient:
    """Talks to one API server as one user; each call opens a connection of its own."""

    def __init__(self, server: str, credentials: Credentials | Token) -> None:
        self.server = server
        self._credentials = credentials
        self._context = ssl.create_default_context(cafile=str(credentials.authority))
        self._headers = {"Accept": "application/json", "User-Agent": "edgelab"}
        if isinstance(credentials, Token):
            self._headers["Authorization"] = f"Bearer {credentials.token}"
        else:
            self._context.load_cert_chain(credentials.certificate, credentials.key)

    @property
    def credentials(self) -> Credentials:
        """The client certificate that it acts with.

        Raises:
            LabError: it acts with a token.
        """
        if isinstance(self._credentials, Token):
            raise LabError("this client has a token and no certificate")
        return self._credentials

    def get(self, path: str) -> JsonObject:
        """Read an object or a list.

        Raises:
            ApiError: the server answered with an error.
            OSError: it did not answer.
        """
        return self.request("GET", path)

    def create(self, path: str, body: Mapping[str, object]) -> JsonObject:
        """Create an object in the collection `path`; errors as in `get`."""
        return self.request("POST", path, body)

    def replace(self, path: str, body: Mapping[str, object]) -> JsonObject:
        """Replace the object at `path`; errors as in `get`."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, object], *, content_type: str = MERGE_PATCH) -> JsonObject:
        """Patch the object at `path`, by a merge patch unless told otherwise; errors as in `get`."""
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str) -> JsonObject:
        """Delete the object or the collection at `path`; errors as in `get`."""
        return self.request("DELETE", path)

    def is_ready(self) -> bool:
        """Whether the server says that it is ready; False too when nothing answers."""
        try:
            self._send("GET", "/readyz", None, "application/json")
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        content_type: str = "application/json",
    ) -> JsonObject:
        """Send one request and read its JSON answer; errors as in `get`."""
        payload = None if body is None else json.dumps(body).encode()
        answer: JsonObject = json.loads(self._send(method, path, payload, content_type))
        return answer

    def _send(self, method: str, path: str, payload: bytes | None, content_type: str) -> bytes:
        address = urlsplit(self.server)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, context=self._context, timeout=_TIMEOUT_SECONDS
        )
        headers = {**self._headers, "Content-Type": content_type}
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise ApiError(method, path, response.status, _message(content))
        return content


def kubeconfig(server: str, credentials: Credentials | Token, *, namespace: str = "default") -> str:
    """A kubeconfig with everything inside, as JSON (which is YAML too)."""
    if isinstance(credentials, Token):
        user = {"token": credentials.token}
    else:
        user = {
            "client-certificate-data": _base64(credentials.certificate),
            "client-key-data": _base64(credentials.key),
        }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _base64(credentials.authority),
                    },
                }
            ],
            "users": [{"name": "user", "user": user}],
            "contexts": [
                {"name": "lab", "context": {"cluster": "lab", "user": "user", "namespace": namespace}}
            ],
            "current-context": "lab",
        },
        indent=1,
    )


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _message(content: bytes) -> str:
    text = content.decode(errors="replace")
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        return text
    return str(answer.get("message", text)) if isinstance(answer, dict) else text
