"""kubeconfig files as kubectl reads them: several files that count as one, contexts, clusters and users."""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

from edgecanary.base.errors import InvalidInput
from edgecanary.clients.nodeaccess import Blob

HOME = Path("~/.kube/config")
REASON = "NoClusterAccess"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTIONS = {"contexts": "context", "clusters": "cluster", "users": "user"}


@dataclass(frozen=True)
class Entry:
    """One named context, cluster or user, and the file that it is from. Its fields may be secret."""

    place: str
    folder: Path
    fields: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)

    def text(self, name: str) -> str:
        """A field's text, empty when it is absent. Raises InvalidInput."""
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise wrong(f"{self.place}.{name}", f"must be text, got {type(value).__name__}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that is a list of texts. Raises InvalidInput."""
        value = self.fields.get(name)
        items = value if isinstance(value, list) else [] if value is None else [None]
        if not all(isinstance(item, str) for item in items):
            raise wrong(f"{self.place}.{name}", "must be a list of texts")
        return tuple(str(item) for item in items)

    def switch(self, name: str) -> bool:
        """A field that is true or false. Raises InvalidInput."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise wrong(f"{self.place}.{name}", f"must be true or false, got {value!r}")
        return value is True

    def blob(self, name: str) -> Blob | None:
        """Bytes that are given as base64 in NAME-data, or in the file NAME. Raises InvalidInput."""
        if data := self.text(f"{name}-data"):
            try:
                return Blob(data=base64.b64decode(data, validate=True))
            except binascii.Error as error:
                raise wrong(f"{self.place}.{name}-data", f"must be base64: {error}") from error
        file = self.text(name)
        return Blob(path=self.folder / file) if file else None


@dataclass(frozen=True)
class Kubeconfig:
    """What the files say together: of entries with the same name, the first one counts."""

    files: tuple[Path, ...]
    current: str = ""
    contexts: Mapping[str, Entry] = field(default_factory=dict)
    clusters: Mapping[str, Entry] = field(default_factory=dict)
    users: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The files, for error messages."""
        return f"kubeconfig {os.pathsep.join(str(file) for file in self.files)}"

    def context(self, name: str | None) -> Entry:
        """The context of that name, by default the current one. Raises InvalidInput."""
        chosen = name or self.current
        if not chosen:
            raise self._refused("current-context is not set: choose one with --context", self.contexts)
        return self._find(self.contexts, "context", chosen)

    def cluster(self, name: str) -> Entry:
        """The cluster of that name. Raises InvalidInput."""
        return self._find(self.clusters, "cluster", name)

    def user(self, name: str) -> Entry:
        """The user of that name. Raises InvalidInput."""
        return self._find(self.users, "user", name)

    def _find(self, entries: Mapping[str, Entry], kind: str, name: str) -> Entry:
        if name not in entries:
            raise self._refused(f"has no {kind} {name!r}", entries)
        return entries[name]

    def _refused(self, why: str, entries: Mapping[str, Entry]) -> InvalidInput:
        there = f"; it has {', '.join(sorted(entries))}" if entries else ""
        return wrong(self.source.removeprefix("kubeconfig "), f"{why}{there}")


def find_files(flag: str | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that count: the flag's, else those of KUBECONFIG, else none; relative to where we are."""
    if flag:
        return (Path(flag),)
    named = environment.get("KUBECONFIG", "").split(os.pathsep)
    return tuple(dict.fromkeys(Path(part) for part in named if part))


def load(files: Sequence[Path], *, missing_ok: bool) -> Kubeconfig:
    """What the files say together. With `missing_ok` files that do not exist are left out, as kubectl does.

    Raises InvalidInput naming the file and what is wrong in it.
    """
    found: dict[str, dict[str, Entry]] = {section: {} for section in _SECTIONS}
    current = ""
    for file in files:
        if missing_ok and not file.exists():
            continue
        body = _read(file)
        current = current or _current(body, file)
        for section, singular in _SECTIONS.items():
            for name, entry in _entries(body, file, section, singular).items():
                found[section].setdefault(name, entry)
    return Kubeconfig(tuple(files), current, found["contexts"], found["clusters"], found["users"])


def wrong(place: str, rule: str) -> InvalidInput:
    """A kubeconfig that cannot be used."""
    return InvalidInput("kubeconfig", f"{place}: {rule}", reason=REASON)


def _read(file: Path) -> Mapping[str, JsonValue]:
    try:
        body = yaml.load(file.read_bytes(), Loader=_LOADER)  # noqa: S506 - the safe loader, in C where there is one
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise wrong(str(file), f"cannot be used: {' '.join(str(error).split())}") from error
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise wrong(str(file), "cannot be used: must hold clusters, users and contexts")
    return body


def _current(body: Mapping[str, JsonValue], file: Path) -> str:
    current = body.get("current-context") or ""
    if not isinstance(current, str):
        raise wrong(str(file), "current-context must be text")
    return current


def _entries(body: Mapping[str, JsonValue], file: Path, section: str, singular: str) -> dict[str, Entry]:
    listed = body.get(section) or []
    if not isinstance(listed, list):
        raise wrong(str(file), f"{section} must be a list")
    found: dict[str, Entry] = {}
    for entry in listed:
        name = entry.get("name") if isinstance(entry, dict) else None
        fields = (entry.get(singular) or {}) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(fields, dict):
            raise wrong(str(file), f"each of {section} must have a name and a {singular}")
        found.setdefault(name, Entry(f"{file}: {singular} {name!r}", file.parent, fields))
    return found
