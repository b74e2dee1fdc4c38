"""The agent's data directory.

    lock                                        held by the one agent that uses the directory
    outbox.json                                 the report that waits to be delivered
    models/<namespace>/<name>/record.json       what is known of the model
    models/<namespace>/<name>/active            link to the files of the revision in use
    models/<namespace>/<name>/loading           the revision that is being loaded at this moment
    models/<namespace>/<name>/incoming/<sha256>[.part]        files on their way in, named by their content
    models/<namespace>/<name>/store/<revision>/files/<path>   an installed revision
    models/<namespace>/<name>/store/<revision>/golden.npz
    models/<namespace>/<name>/store/<revision>/profile.json
    models/<namespace>/<name>/store/<revision>/statement.json

A directory under `store/` is named by the revision's digest and appears by one rename, when all that is in
it was verified: what is there is whole. No file is shared between revisions, so removing one cannot hurt
another.
"""

import contextlib
import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from edgecanary.agent import files
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.record import FORMAT_VERSION, Record, new_record
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.base.errors import EdgecanaryError

log = logging.getLogger(__name__)

_RECORD = "record.json"
_STATEMENT = "statement.json"


class StoreFailure(EdgecanaryError):
    """The data directory cannot be used; the message says what to do about it."""


class Store:
    """The data directory of one agent. Raises OSError where the disk fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: BinaryIO | None = None

    def open(self) -> None:
        """Makes the directory and takes it for this process. Raises StoreFailure."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            (self.root / "models").mkdir(exist_ok=True)
            self._lock = (self.root / "lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreFailure(
                "DataDirInUse",
                f"{self.root}: another agent uses this data directory; stop it or give --data-dir another one",
            ) from None
        except OSError as error:
            raise StoreFailure(
                "DataDirUnusable", f"{self.root}: the agent cannot write to its data directory: {error}"
            ) from error

    def close(self) -> None:
        """Gives the directory free."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def models(self) -> list[ModelKey]:
        """The models that have a place in the directory."""
        return [
            ModelKey(folder.parent.name, folder.name)
            for folder in sorted((self.root / "models").glob("*/*"))
            if folder.is_dir() and not folder.name.startswith(".")
        ]

    def files_of(self, key: ModelKey) -> "ModelFiles":
        """The model's part of the directory."""
        return ModelFiles(key, self.root / "models" / key.namespace / key.name)

    def free_bytes(self) -> int:
        """Bytes that the agent may still write to the directory's file system."""
        return shutil.disk_usage(self.root).free

    def load(self, key: ModelKey) -> Record:
        """The model's record.

        A record that cannot be read is put aside and rebuilt from the files, so that a model that served
        goes on serving. Raises StoreFailure for a record of another format version, and for one that the disk
        does not give out.
        """
        path = self.files_of(key).root / _RECORD
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return new_record(key)
        except OSError as error:
            raise StoreFailure("RecordUnreadable", f"{path}: cannot be read: {error}") from error
        try:
            return Record.model_validate_json(data)
        except ValidationError as error:
            if _is_other_version(error):
                raise StoreFailure(
                    "RecordVersion",
                    f"{path}: was written by another version of the agent (format {FORMAT_VERSION} is wanted); "
                    "run that version again or remove the model's directory",
                ) from error
            log.error("%s: cannot be read and is rebuilt from the files: %s", path, error)
            path.replace(path.with_name(f"{_RECORD}.damaged"))
            return self.files_of(key).rebuild_record()

    def save(self, record: Record) -> None:
        """Writes the record; when this returns it survives a power cut."""
        folder = self.files_of(record.key)
        if not folder.root.exists():
            folder.create()
        files.write_atomic(folder.root / _RECORD, record.model_dump_json(by_alias=True).encode())

    def forget(self, key: ModelKey) -> None:
        """Removes all that belongs to the model."""
        files.remove_tree(self.files_of(key).root)


class ModelFiles:
    """The files of one model."""

    def __init__(self, key: ModelKey, root: Path) -> None:
        self.key = key
        self.root = root
        self.incoming = root / "incoming"
        self.store = root / "store"
        self.active_link = root / "active"
        self._loading = root / "loading"

    def create(self) -> None:
        """Makes the model's directories."""
        for folder in (self.incoming, self.store):
            folder.mkdir(parents=True, exist_ok=True)
        files.sync_directory(self.root)
        files.sync_directory(self.root.parent)
        files.sync_directory(self.root.parent.parent)

    def part(self, digest: str) -> Path:
        """Where a file is while it is fetched."""
        return self.incoming / f"{digest}.part"

    def arrived(self, digest: str) -> Path:
        """Where a file is once it was verified."""
        return self.incoming / digest

    def home(self, revision: str) -> Path:
        """The directory of an installed revision."""
        return self.store / revision

    def is_installed(self, revision: str) -> bool:
        """Whether the revision is on disk, whole."""
        return self.home(revision).is_dir()

    def installed(self, revision: str) -> InstalledRevision:
        """The installed revision. Raises StoreFailure when it is not there or cannot be read."""
        home = self.home(revision)
        statement = self._statement(revision)
        golden, profile = home / "golden.npz", home / "profile.json"
        return InstalledRevision(
            key=self.key,
            revision=revision,
            version=statement.version,
            directory=home / "files",
            variant=statement.variants[0],
            io=statement.io,
            golden_path=golden if statement.golden and golden.exists() else None,
            golden=statement.golden,
            profile_path=profile if statement.profile and profile.exists() else None,
            serve=statement.serve,
        )

    def check(self, revision: str) -> None:
        """Compares an installed revision's bytes with its statement. Raises StoreFailure."""
        for file in self._statement(revision).variants[0].files:
            path = files.join_inside(self.home(revision) / "files", file.path)
            try:
                intact = path.stat().st_size == file.size_bytes and files.sha256_of(path) == file.sha256
            except OSError as error:
                raise StoreFailure("FileDamaged", f"{path}: cannot be read: {error}") from error
            if not intact:
                raise StoreFailure("FileDamaged", f"{path}: is not what was installed; it is fetched again")

    def copy_of(self, sha256: str, size: int) -> Path | None:
        """A file of an installed revision that should have these bytes."""
        for home in sorted(self.store.glob("[0-9a-f]*")):
            with contextlib.suppress(StoreFailure):
                for known in self._statement(home.name).variants[0].files:
                    if (known.sha256, known.size_bytes) == (sha256, size):
                        return files.join_inside(home / "files", known.path)
        return None

    def stage(self, statement: RevisionStatement) -> None:
        """Makes an installed revision of verified files; the statement names one variant."""
        home = self.home(statement.revision)
        if home.exists():
            return
        draft = home.with_name(f".{home.name}")
        self.unstage(statement)
        for digest, paths in _places(draft, statement).items():
            self._settle(digest, paths)
        files.write_atomic(draft / _STATEMENT, statement.model_dump_json(by_alias=True).encode())
        for folder, _, _ in os.walk(draft):
            files.sync_directory(Path(folder))
        draft.rename(home)
        files.sync_directory(self.store)

    def unstage(self, statement: RevisionStatement) -> None:
        """Puts the files of a half-made revision back among the incoming ones."""
        draft = self.home(statement.revision).with_name(f".{statement.revision}")
        if not draft.exists():
            return
        for digest, paths in _places(draft, statement).items():
            if paths[0].is_file() and not self.arrived(digest).exists():
                paths[0].replace(self.arrived(digest))
        shutil.rmtree(draft)

    def point_active(self, revision: str | None) -> None:
        """Points the `active` link to the revision's files, or removes it."""
        if revision is None:
            files.drop_link(self.active_link)
        else:
            files.point_link(self.active_link, f"store/{revision}/files")

    def mark_loading(self, revision: str) -> None:
        """Notes on disk that the revision is about to be loaded: should the machine go down, it was that one."""
        files.write_atomic(self._loading, revision.encode())

    def clear_loading(self) -> None:
        """Notes that the load has ended, well or not."""
        self._loading.unlink(missing_ok=True)

    def found_loading(self) -> str | None:
        """The revision that was being loaded when the last process died."""
        try:
            return self._loading.read_text(errors="replace")
        except OSError:
            return None

    def discard(self, revision: str) -> None:
        """Removes an installed revision."""
        files.remove_tree(self.home(revision))

    def clear_incoming(self) -> None:
        """Removes all that was fetched and not installed."""
        for path in self.incoming.glob("*"):
            path.unlink()

    def collect_garbage(self, needed: frozenset[str], *, keep_incoming: bool) -> None:
        """Removes every revision that is not needed, and what was left half-done."""
        if not self.root.exists():
            return
        for path in self.store.iterdir():
            if path.name not in needed and not (keep_incoming and path.name.lstrip(".") in needed):
                files.remove_tree(path)
        if not keep_incoming:
            self.clear_incoming()
        for path in self.root.glob(".*"):
            path.unlink()

    def rebuild_record(self) -> Record:
        """A record made from what is on disk: the linked revision is the active one."""
        record = new_record(self.key)
        if not self.active_link.is_symlink():
            return record
        revision = self.active_link.readlink().parent.name
        return record.model_copy(update={"active": revision}) if self.is_installed(revision) else record

    def _statement(self, revision: str) -> RevisionStatement:
        path = self.home(revision) / _STATEMENT
        try:
            return RevisionStatement.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreFailure("RevisionDamaged", f"{path}: cannot be read: {error}") from error

    def _settle(self, digest: str, paths: list[Path]) -> None:
        """Moves a verified file to the first path and copies it to the others."""
        arrived = self.arrived(digest)
        arrived.chmod(0o444)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        for path in paths[1:]:
            shutil.copy(arrived, path)
            files.sync_file(path)
        arrived.replace(paths[0])


def _places(home: Path, statement: RevisionStatement) -> dict[str, list[Path]]:
    """Where each content belongs in a revision's directory."""
    places: dict[str, list[Path]] = {}
    for file in statement.variants[0].files:
        places.setdefault(file.sha256, []).append(files.join_inside(home / "files", file.path))
    if statement.golden is not None and statement.serve:
        places.setdefault(statement.golden.sha256, []).append(home / "golden.npz")
    if statement.profile is not None and statement.serve:
        places.setdefault(statement.profile.sha256, []).append(home / "profile.json")
    return places


def _is_other_version(error: ValidationError) -> bool:
    return any(entry["loc"] == ("formatVersion",) for entry in error.errors())
