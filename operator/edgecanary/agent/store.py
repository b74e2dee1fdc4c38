"""The agent's data directory.

    lock                                        held by the one agent that uses the directory
    outbox.json                                 the report that waits to be delivered
    blobs/<sha256>                              contents that installed revisions share
    models/<namespace>/<name>/record.json       what is known of the model, with its checksum
    models/<namespace>/<name>/record.json.previous            the record before that one
    models/<namespace>/<name>/active            link to the files of the revision in use
    models/<namespace>/<name>/loading           the revision that is being loaded at this moment
    models/<namespace>/<name>/incoming/<sha256>[.part]        files on their way in, named by their content
    models/<namespace>/<name>/store/<revision>/files/<path>   an installed revision
    models/<namespace>/<name>/store/<revision>/golden.npz
    models/<namespace>/<name>/store/<revision>/profile.json
    models/<namespace>/<name>/store/<revision>/statement.json
    models/<namespace>/<name>/store/<revision>/committed      it passed its trial on this node

A directory under `store/` is named by the revision's digest and appears by one rename, when all that is in
it was verified: what is there is whole. Its files are hard links to the blobs.
"""

import fcntl
import logging
import os
import shutil
from pathlib import Path

from edgecanary.agent import files
from edgecanary.agent.blobs import Blobs
from edgecanary.agent.modelfiles import ModelFiles, StoreFailure
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record
from edgecanary.agent.recordfile import Found, RecordFile

__all__ = ["ModelFiles", "Store", "StoreFailure"]

log = logging.getLogger(__name__)


class Store:
    """The data directory of one agent. Raises OSError where the disk fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = Blobs(root / "blobs")
        self._lock: int | None = None
        self._made: set[ModelKey] = set()

    def open(self) -> None:
        """Makes the directory and takes it for this process.

        A directory that cannot be written is used as it is: what is installed can be served. Raises
        StoreFailure when another agent has it, and when it is no directory.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            (self.root / "models").mkdir(exist_ok=True)
            for doomed in sorted((self.root / "models").glob("*/.doomed-*")):
                files.delete_tree(doomed)
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreFailure("DataDirUnusable", f"{self.root}: is no directory: {error}") from error
        except OSError as error:
            log.error("%s: cannot be written; what is installed is served: %s", self.root, error)
        self._lock = self._open_lock()
        if self._lock is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreFailure(
                "DataDirInUse",
                f"{self.root}: another agent uses this data directory; stop it or give --data-dir another one",
            ) from None

    def _open_lock(self) -> int | None:
        """The lock's file; None where there is none and none can be made, so that nobody can write either."""
        path = self.root / "lock"
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.error("%s: cannot be written: %s", path, error)
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    def close(self) -> None:
        """Gives the directory free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def models(self) -> list[ModelKey]:
        """The models that have a place in the directory."""
        return [
            ModelKey(folder.parent.name, folder.name)
            for folder in sorted((self.root / "models").glob("*/*"))
            if folder.is_dir() and not folder.name.startswith(".")
        ]

    def files_of(self, key: ModelKey) -> ModelFiles:
        """The model's part of the directory."""
        return ModelFiles(key, self.root / "models" / key.namespace / key.name, self.blobs)

    def free_bytes(self) -> int:
        """Bytes that the agent may still write to the directory's file system."""
        return shutil.disk_usage(self.root).free

    def used_bytes(self) -> int:
        """Bytes of the disk that the directory takes."""
        return files.used_bytes(self.root)

    def find(self, key: ModelKey) -> Found:
        """The model's record, and what had to be repaired to have it. Never raises."""
        home = self.files_of(key)
        return RecordFile(home.root).read(home.rebuild_record)

    def load(self, key: ModelKey) -> Record:
        """The model's record."""
        return self.find(key).record

    def save(self, record: Record) -> None:
        """Writes the record; when this returns it survives a power cut."""
        home = self.files_of(record.key)
        if record.key not in self._made:
            home.create()
            self._made.add(record.key)
        RecordFile(home.root).write(record)

    def forget(self, key: ModelKey) -> None:
        """Removes all that belongs to the model."""
        self._made.discard(key)
        files.remove_tree(self.files_of(key).root)
        self.blobs.collect_garbage()
