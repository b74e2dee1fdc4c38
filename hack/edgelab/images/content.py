"""What is in an image, read from its archive."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO

from edgelab.api import JsonObject
from edgelab.errors import LabError

_DISTRIBUTIONS = "opt/edgecanary/lib/python3.*/site-packages/*.dist-info/METADATA"
_SYSTEM_PACKAGES = ("var/lib/dpkg/status.d/*", "var/lib/dpkg/status")


@dataclass(frozen=True, order=True)
class Package:
    """A package in an image. `kind` is `pypi` or `deb`."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    licence: str = ""


class Content:
    """An image in an archive of Docker's layout. Reading it again and again is slow: keep what it gives."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    @cached_property
    def configuration(self) -> JsonObject:
        """The image's configuration."""
        with tarfile.open(self._archive) as outer:
            found: JsonObject = json.load(_open(outer, self._manifest["Config"]))
            return found

    @cached_property
    def image_id(self) -> str:
        """The digest of the configuration, which names every layer: two images of the same id are the same."""
        with tarfile.open(self._archive) as outer:
            return hashlib.sha256(_open(outer, self._manifest["Config"]).read()).hexdigest()

    @cached_property
    def uncompressed_bytes(self) -> int:
        """The size of all layers."""
        with tarfile.open(self._archive) as outer:
            return sum(outer.getmember(name).size for name in self._layers(outer))

    @cached_property
    def entries(self) -> dict[str, tarfile.TarInfo]:
        """What the image's file system holds, by path. What a later layer replaces is left out."""
        found: dict[str, tarfile.TarInfo] = {}
        with tarfile.open(self._archive) as outer:
            for layer in self._layers(outer):
                with tarfile.open(fileobj=_open(outer, layer)) as inner:
                    found.update({entry.name.removeprefix("./"): entry for entry in inner})
        return found

    def read(self, *patterns: str) -> dict[str, bytes]:
        """The content of the files whose path one of the patterns matches, by path."""
        found: dict[str, bytes] = {}
        with tarfile.open(self._archive) as outer:
            for layer in self._layers(outer):
                with tarfile.open(fileobj=_open(outer, layer)) as inner:
                    for entry in inner:
                        path = PurePosixPath(entry.name.removeprefix("./"))
                        if entry.isreg() and any(path.match(pattern) for pattern in patterns):
                            found[str(path)] = _open(inner, entry.name).read()
        return found

    def packages(self) -> list[Package]:
        """The packages in it, of the system and of Python, in order."""
        found: set[Package] = set()
        for path, content in self.read(_DISTRIBUTIONS, *_SYSTEM_PACKAGES).items():
            text = content.decode(errors="replace")
            kind = "pypi" if path.endswith("/METADATA") else "deb"
            found.update(_packages(kind, text))
        return sorted(found)

    @cached_property
    def _manifest(self) -> JsonObject:
        with tarfile.open(self._archive) as outer:
            manifests = json.load(_open(outer, "manifest.json"))
        if len(manifests) != 1:
            raise LabError(f"{self._archive} holds {len(manifests)} images, one was expected")
        only: JsonObject = manifests[0]
        return only

    def _layers(self, outer: tarfile.TarFile) -> list[str]:
        """The layers' names; a layer that is there twice is a link to the first."""
        names = []
        for name in self._manifest["Layers"]:
            member = outer.getmember(name)
            names.append(str(PurePosixPath(name).parent / member.linkname) if member.issym() else str(name))
        return [_plain(name) for name in names]


def _packages(kind: str, text: str) -> Iterator[Package]:
    for part in text.split("\n\n") if kind == "deb" else [text]:
        fields = Parser().parsestr(part, headersonly=True)
        if fields["Name"] or fields["Package"]:
            licence = fields["License-Expression"] or fields["License"] or ""
            yield Package(
                kind,
                fields["Name"] or fields["Package"],
                fields["Version"],
                fields["Architecture"] or "",
                licence if len(licence) < 100 and "\n" not in licence else "",
            )


def _plain(name: str) -> str:
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise LabError(f"{name} is no file")
    return found
