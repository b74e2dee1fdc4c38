"""The file that holds a model's record: one line of JSON, one line with its SHA-256, and the copy before it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edgecanary.agent import files
from edgecanary.agent.record import FORMAT_VERSION, Record

NAME: Final = "record.json"
PREVIOUS: Final = "record.json.previous"
DAMAGED: Final = "record.json.damaged"
_KEEP = ".record.json.keep"
_WITHOUT_CHECKSUM = 1
"""The first format: the JSON alone."""
_MAX_BYTES = 16 * 2**20
"""A record is some kilobytes; what is longer is not one."""


class _Unreadable(Exception):
    """The file holds no record that this program can use; the message says why."""


@dataclass(frozen=True)
class Found:
    """A record, and what had to be repaired to have it; empty when it was read as it was written."""

    record: Record
    repair: str = ""


def encode(record: Record) -> bytes:
    """The bytes of a record's file."""
    line = record.model_dump_json(by_alias=True).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def decode(data: bytes) -> Record:
    """The record in a file's bytes. Raises _Unreadable."""
    if not data:
        raise _Unreadable("is empty")
    line, ended, checksum = data.partition(b"\n")
    if ended and checksum != hashlib.sha256(line).hexdigest().encode() + b"\n":
        raise _Unreadable("is damaged: its checksum does not match")
    try:
        fields = json.loads(line)
        version = fields["formatVersion"]
    except (ValueError, KeyError, TypeError):
        raise _Unreadable("is damaged: it holds no record") from None
    if version != (FORMAT_VERSION if ended else _WITHOUT_CHECKSUM):
        raise _Unreadable(
            f"was written in format {version!r} by another version of the agent, this one writes {FORMAT_VERSION}"
            if ended or version != FORMAT_VERSION
            else "is damaged: its checksum is missing"
        )
    try:
        return Record.model_validate({**fields, "formatVersion": FORMAT_VERSION})
    except ValidationError as error:
        raise _Unreadable(f"is damaged: {error.error_count()} fields of it are not valid") from error


class RecordFile:
    """The record's file in a model's directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._previous = folder / PREVIOUS

    def read(self, rebuild: Callable[[], Record]) -> Found:
        """The record as it was written last; the one before when that cannot be used, else a rebuilt one.

        Never raises: a node must serve what it has, whatever became of this file.
        """
        problem = ""
        try:
            return Found(self._read(self._path))
        except FileNotFoundError:
            problem = "is missing"
        except (_Unreadable, OSError) as error:
            problem = _words(error)
        try:
            record = self._read(self._previous)
        except (_Unreadable, OSError) as error:
            return self._rebuilt(rebuild(), problem, error)
        return Found(
            record, f"{self._path} {problem}; the agent went on from the copy before it, in {record.state}"
        )

    def _rebuilt(self, record: Record, problem: str, error: Exception) -> Found:
        if problem == "is missing" and isinstance(error, FileNotFoundError) and not record.needed:
            return Found(record)
        copy = "missing" if isinstance(error, FileNotFoundError) else "no use either"
        active = record.active[:12] if record.active else "no revision"
        return Found(
            record,
            f"{self._path} {problem} and the copy before it is {copy}; the record was rebuilt from the files: "
            f"{active} is active, rejections and the release's sequence are forgotten",
        )

    def write(self, record: Record) -> None:
        """Writes the record; when this returns it survives a power cut. The one before becomes the copy."""
        temporary = self._path.with_name(f".{NAME}.new")
        files.write_new(temporary, encode(record))
        self._keep_current()
        temporary.replace(self._path)
        files.sync_directory(self._folder)

    def _keep_current(self) -> None:
        """Makes what is there the copy before; what cannot be used is put aside and the copy stays."""
        try:
            self._read(self._path)
        except FileNotFoundError:
            return
        except _Unreadable:
            self._path.replace(self._path.with_name(DAMAGED))
            return
        keep = self._path.with_name(_KEEP)
        files.share(self._path, keep)
        keep.replace(self._previous)

    @staticmethod
    def _read(path: Path) -> Record:
        with path.open("rb") as file:
            return decode(file.read(_MAX_BYTES))


def _words(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
