"""EdgeModels in a manifest that is to be signed or was signed."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgecanary.api import API_VERSION
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.cli.signature_edit import find_models
from edgecanary.rollout.declared import read_spec

_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Declared:
    """One EdgeModel and where it is in the file."""

    number: int
    """Of the document, from 1."""
    namespace: str
    name: str
    spec: EdgeModelSpec

    @property
    def place(self) -> str:
        """The document, for a person."""
        return f"document {self.number}"


def read_text(path: str) -> str:
    """A manifest's text. Raises InvalidInput."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise _invalid(path, f"must have at most {_MAX_BYTES} bytes")
        return data.decode()
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _invalid(path, "must be text in UTF-8") from error


def declared_models(text: str, path: str, namespace: str | None) -> list[Declared]:
    """The EdgeModels in a manifest. Raises InvalidInput naming the field that breaks a rule."""
    found = [_declared(number, body, namespace) for number, body in find_models(text).items()]
    if not found:
        raise _invalid(path, "must hold at least one EdgeModel")
    return found


def write_in_place(path: Path, text: str) -> None:
    """Replaces the file's content in one step; its mode stays. Raises EdgecanaryError."""
    real = path.resolve()
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                os.fchmod(file.fileno(), real.stat().st_mode & 0o7777)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(real)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EdgecanaryError("CannotWrite", f"{path}: cannot be written: {error.strerror}") from error


def _declared(number: int, body: JsonObject, namespace: str | None) -> Declared:
    place = f"document {number}"
    if body.get("apiVersion") != API_VERSION:
        raise _invalid(f"{place}: apiVersion", f"must be {API_VERSION}, got {body.get('apiVersion')!r}")
    metadata = body.get("metadata")
    fields = metadata if isinstance(metadata, dict) else {}
    name, own = str(fields.get("name") or ""), str(fields.get("namespace") or "")
    if not name:
        raise _invalid(f"{place}: metadata.name", "must be set")
    if own and namespace and own != namespace:
        raise _invalid(f"{place}: metadata.namespace", f"is {own}, and --namespace says {namespace}")
    if not (own or namespace):
        rule = "must be set, or give --namespace: a signature counts in one namespace"
        raise _invalid(f"{place}: metadata.namespace", rule)
    return Declared(number, own or namespace or "", name, read_spec(EdgeModelSpec, body))


def _invalid(field: str, rule: str) -> InvalidInput:
    return InvalidInput("standard input" if field == "-" else field, rule, reason="InvalidManifest")
