"""Kubernetes manifests in files: YAML of one or several documents, Lists, or JSON."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import JsonValue, ValidationError

from edgecanary.api import API_VERSION
from edgecanary.api.edgemodel import EdgeModel, EdgeModelSpec
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.meta import ObjectMeta
from edgecanary.api.rollout import Rollout
from edgecanary.api.rollout_status import RolloutStatus
from edgecanary.base.errors import InvalidInput
from edgecanary.rollout.declared import read_rollout_spec, read_spec
from edgecanary.rollout.validation import check_rollout

M = TypeVar("M", bound=ApiModel)

_MAX_BYTES = 512 * 2**20
_BASE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE_LOADER):  # type: ignore[misc, valid-type]
    """Reads what JSON can say: times stay text, as they are for the API server."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in _BASE_LOADER.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Manifest:
    """One object as it is written, and where."""

    body: JsonObject
    place: str

    @property
    def kind(self) -> str:
        """Its kind, empty when it has none."""
        return str(self.body.get("kind") or "")


def read_manifests(path: str) -> tuple[Manifest, ...]:
    """The objects in a file, `-` for standard input; Lists are taken apart.

    Raises InvalidInput naming the file and the line or the document.
    """
    name = "standard input" if path == "-" else path
    text = _read(path, name)
    found: list[Manifest] = []
    for number, document in enumerate(_documents(text, name), start=1):
        if document is not None:
            found += _objects(document, f"{name}, document {number}")
    if not found:
        raise InvalidInput(
            name, "must hold Kubernetes objects in YAML, and is empty", reason="InvalidManifest"
        )
    return tuple(found)


def _read(path: str, name: str) -> str:
    try:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1) if path == "-" else _read_file(Path(path))
        text = data.decode()
    except OSError as error:
        raise InvalidInput(name, f"cannot be read: {error.strerror}", reason="InvalidManifest") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(name, "must be text in UTF-8", reason="InvalidManifest") from error
    if len(data) > _MAX_BYTES:
        raise InvalidInput(name, f"must not be longer than {_MAX_BYTES} bytes", reason="InvalidManifest")
    return text


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def _documents(text: str, name: str) -> Iterator[JsonValue]:
    if text.lstrip().startswith("{"):
        # JSON is YAML too, and this reads the nodes of a large fleet a hundred times faster.
        try:
            yield json.loads(text)
        except ValueError as error:
            raise InvalidInput(name, f"is not JSON: {error}", reason="InvalidManifest") from error
        return
    try:
        yield from yaml.load_all(text, _Loader)
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise InvalidInput(name, f"is not YAML: {words}", reason="InvalidManifest") from error


def _objects(document: JsonValue, place: str) -> list[Manifest]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        rule = "must be a Kubernetes object with apiVersion and kind"
        raise InvalidInput(place, rule, reason="InvalidManifest")
    items, kind = document.get("items"), str(document["kind"])
    if not kind.endswith("List"):
        return [Manifest(document, place)]
    if not isinstance(items, list):
        raise InvalidInput(f"{place}: items", "must be a list", reason="InvalidManifest")
    found = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise InvalidInput(f"{place}: items[{index}]", "must be an object", reason="InvalidManifest")
        found.append(Manifest({"kind": kind.removesuffix("List"), **item}, f"{place}, items[{index}]"))
    return found


def find_rollout(manifests: Sequence[Manifest], *, file: str) -> Rollout:
    """The only Rollout. Raises InvalidInput naming the field that breaks a rule."""
    found = [manifest for manifest in manifests if manifest.kind == "Rollout"]
    if len(found) != 1:
        kinds = ", ".join(sorted({manifest.kind for manifest in manifests}))
        rule = f"must hold one Rollout, and holds {len(found)} (kinds: {kinds})"
        raise InvalidInput(file, rule, reason="InvalidManifest")
    metadata = _metadata(found[0])
    status = read(RolloutStatus, found[0].body.get("status") or {}, found[0].place)
    spec = read_rollout_spec(found[0].body)
    check_rollout(spec)
    return Rollout(metadata=metadata, spec=spec, status=status)


def find_model(manifests: Sequence[Manifest], name: str, *, file: str) -> EdgeModel | None:
    """The EdgeModel of that name; None when the manifests hold no EdgeModel at all.

    Raises InvalidInput when they hold only others, or a field breaks a rule.
    """
    found = [(_metadata(manifest), manifest) for manifest in manifests if manifest.kind == "EdgeModel"]
    for metadata, manifest in found:
        if metadata.name == name:
            return EdgeModel(metadata=metadata, spec=read_spec(EdgeModelSpec, manifest.body))
    if found:
        others = ", ".join(metadata.name for metadata, _ in found)
        raise InvalidInput("spec.modelRef.name", f"no EdgeModel {name!r} in {file}, which has {others}")
    return None


def find_only_model(manifests: Sequence[Manifest], *, file: str) -> EdgeModel:
    """The only EdgeModel. Raises InvalidInput naming the field that breaks a rule."""
    found = [manifest for manifest in manifests if manifest.kind == "EdgeModel"]
    if len(found) != 1:
        rule = f"must hold one EdgeModel, and holds {len(found)}"
        raise InvalidInput(file, rule, reason="InvalidManifest")
    return EdgeModel(metadata=_metadata(found[0]), spec=read_spec(EdgeModelSpec, found[0].body))


def _metadata(manifest: Manifest) -> ObjectMeta:
    """The metadata of one of our kinds, in a version that is known."""
    version = manifest.body.get("apiVersion")
    if version != API_VERSION:
        rule = f"must be {API_VERSION} for a {manifest.kind}, got {version!r}"
        raise InvalidInput(f"{manifest.place}: apiVersion", rule, reason="InvalidManifest")
    metadata = read(ObjectMeta, manifest.body.get("metadata") or {}, f"{manifest.place}: metadata")
    if not metadata.name:
        raise InvalidInput(f"{manifest.place}: metadata.name", "must be set", reason="InvalidManifest")
    return metadata


def read(model: type[M], value: JsonValue, place: str) -> M:
    """A part of an object. Raises InvalidInput naming the place and the first field that does not fit."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{place}: {field}", first["msg"], reason="InvalidManifest") from error
