"""Credentials from a program that a kubeconfig names, as client-go runs it (client.authentication.k8s.io)."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import Field, JsonValue, ValidationError

from edgecanary.api.fields import ApiModel
from edgecanary.base.clock import Clock
from edgecanary.clients.kubeconfig import Entry, wrong

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_EARLY = timedelta(seconds=10)
"""Credentials that expire so soon are renewed."""


@dataclass(frozen=True)
class Plugin:
    """A program that prints credentials."""

    place: str
    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    hint: str = ""
    interactive: bool = True
    cluster: Mapping[str, JsonValue] | None = None
    """What the program is told of the cluster, when it wants to know."""


class Credentials(ApiModel):
    """What the program printed. Valid until `expiration_timestamp`, if there is one."""

    token: str = Field(default="", repr=False)
    client_certificate_data: str = Field(default="", repr=False)
    client_key_data: str = Field(default="", repr=False)
    expiration_timestamp: datetime | None = None


class _Answer(ApiModel):
    api_version: str = ""
    status: Credentials


class CredentialSource:
    """Runs the program when credentials are needed, and again when they expire or are refused."""

    def __init__(self, plugin: Plugin, clock: Clock, *, seconds: float | None = None) -> None:
        self._plugin = plugin
        self._clock = clock
        self._seconds = seconds
        self._known: Credentials | None = None

    def get(self) -> Credentials:
        """Credentials that are valid now. Raises InvalidInput when the program gives none."""
        known = self._known
        if known is None or self._is_over(known):
            known = self._known = _run(self._plugin, self._seconds)
        return known

    def forget(self) -> None:
        """The server refused them: the program is run again."""
        self._known = None

    def _is_over(self, known: Credentials) -> bool:
        end = known.expiration_timestamp
        return end is not None and end - _EARLY <= self._clock.now()


def read_plugin(user: Entry, cluster: Entry) -> Plugin | None:
    """The user's program, None when it has none. Raises InvalidInput."""
    fields = user.fields.get("exec")
    if fields is None:
        return None
    if not isinstance(fields, dict):
        raise wrong(f"{user.place}.exec", "must have a command")
    entry = Entry(f"{user.place}.exec", user.folder, fields)
    version, command = entry.text("apiVersion"), entry.text("command")
    if version not in _VERSIONS:
        raise wrong(f"{entry.place}.apiVersion", f"must be one of {', '.join(_VERSIONS)}, got {version!r}")
    if not command:
        raise wrong(f"{entry.place}.command", "must be the program to run")
    return Plugin(
        place=entry.place,
        api_version=version,
        command=str(user.folder / command) if os.sep in command else command,
        arguments=entry.texts("args"),
        environment=_environment(entry),
        hint=entry.text("installHint"),
        interactive=entry.text("interactiveMode") != "Never",
        cluster=_told(cluster) if entry.switch("provideClusterInfo") else None,
    )


def _environment(entry: Entry) -> dict[str, str]:
    found = {}
    listed = entry.fields.get("env")
    for item in listed if isinstance(listed, list) else ():
        name, value = (item.get("name"), item.get("value")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(value, str):
            raise wrong(f"{entry.place}.env", "each must have a name and a value")
        found[name] = value
    return found


def _told(cluster: Entry) -> dict[str, JsonValue]:
    """What a program hears of the cluster."""
    names = {"server": "server", "tls-server-name": "tls-server-name", "proxy-url": "proxy-url"}
    told: dict[str, JsonValue] = {name: cluster.text(key) for name, key in names.items() if cluster.text(key)}
    if data := cluster.text("certificate-authority-data"):
        told["certificate-authority-data"] = data
    if cluster.switch("insecure-skip-tls-verify"):
        told["insecure-skip-tls-verify"] = True
    return told


def _run(plugin: Plugin, seconds: float | None) -> Credentials:
    interactive = plugin.interactive and seconds is None and sys.stdin is not None and sys.stdin.isatty()
    spec: dict[str, JsonValue] = {"interactive": interactive}
    if plugin.cluster is not None:
        spec["cluster"] = dict(plugin.cluster)
    asked = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        done = subprocess.run(
            [plugin.command, *plugin.arguments],
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if seconds is None else subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        hint = (
            f"; {plugin.hint.strip()}" if plugin.hint else "; install it, or set another user in the context"
        )
        raise wrong(plugin.place, f"there is no program {plugin.command}{hint}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise wrong(plugin.place, f"{Path(plugin.command).name} failed: {error}") from error
    if done.returncode != 0:
        raise wrong(plugin.place, f"{Path(plugin.command).name} failed with exit code {done.returncode}")
    return _parse(plugin, done.stdout)


def _parse(plugin: Plugin, output: bytes) -> Credentials:
    try:
        answer = _Answer.model_validate_json(output)
    except ValidationError as error:
        raise wrong(plugin.place, f"{Path(plugin.command).name} printed no ExecCredential") from error
    if answer.api_version != plugin.api_version:
        raise wrong(plugin.place, f"asked for {plugin.api_version}, got {answer.api_version!r}")
    found = answer.status
    if not found.token and not (found.client_certificate_data and found.client_key_data):
        raise wrong(plugin.place, "gave neither a token nor a client certificate with its key")
    return found
