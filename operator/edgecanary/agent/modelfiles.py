"""The files of one model: what is on its way in, what is installed, what is active."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from edgecanary.agent import files
from edgecanary.agent.blobs import Blobs
from edgecanary.agent.ports import InstalledRevision, ModelKey
from edgecanary.agent.record import Record, new_record
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.base.errors import EdgecanaryError

_STATEMENT = "statement.json"
_COMMITTED = "committed"
_REVISION = re.compile(r"[0-9a-f]{64}")


class StoreFailure(EdgecanaryError):
    """The data directory cannot be used; the message says what to do about it."""


class ModelFiles:
    """The files of one model. Raises OSError where the disk fails."""

    def __init__(self, key: ModelKey, root: Path, blobs: Blobs) -> None:
        self.key = key
        self.root = root
        self.blobs = blobs
        self.incoming = root / "incoming"
        self.store = root / "store"
        self.active_link = root / "active"
        self._loading = root / "loading"

    def create(self) -> None:
        """Makes the model's directories; their names are durable when this returns."""
        data = self.blobs.root.parent
        for folder in (self.blobs.root, self.incoming, self.store):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.root, *self.root.parents):
            files.sync_directory(folder)
            if folder == data:
                break

    def part(self, digest: str) -> Path:
        """Where a file is while it is fetched. Never shared, since it is written to."""
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
            profile=statement.profile,
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
        """A file on this node that should have these bytes; they are compared before use."""
        return self.blobs.find(sha256, size)

    def stage(self, statement: RevisionStatement) -> None:
        """Makes an installed revision of the files that arrived; the statement names one variant."""
        home = self.home(statement.revision)
        if not home.exists():
            draft = home.with_name(f".{home.name}")
            files.delete_tree(draft)
            for digest, path in _places(draft, statement):
                arrived = self.arrived(digest)
                arrived.chmod(0o444)
                path.parent.mkdir(parents=True, exist_ok=True)
                files.share(arrived, path)
            files.write_new(draft / _STATEMENT, statement.model_dump_json(by_alias=True).encode())
            files.sync_tree(draft)
            draft.rename(home)
        files.sync_directory(self.store)
        for digest, path in _places(home, statement):
            self.blobs.publish(digest, path, self._draft_of_blob(digest))
            self.arrived(digest).unlink(missing_ok=True)

    def mark_committed(self, revision: str) -> None:
        """Notes beside an installed revision that it passed its trial here, after those that did before."""
        marks = self._committed()
        if marks and marks[-1] == revision:
            return
        mark = self.home(revision) / _COMMITTED
        files.write_atomic(mark, f"{self._mark(marks[-1]) + 1 if marks else 1}\n".encode())

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
        """Removes an installed revision that is damaged, and the contents that it shared."""
        with contextlib.suppress(StoreFailure):
            for digest, path in _places(self.home(revision), self._statement(revision)):
                blob = self.blobs.find(digest, path.stat().st_size) if path.exists() else None
                if blob is not None and blob.samefile(path):
                    self.blobs.drop(digest)
        files.remove_tree(self.home(revision))

    def collect_garbage(self, needed: frozenset[str], *, keep_incoming: bool) -> None:
        """Removes every revision that is not needed, and what was left half-done; never anything else."""
        if not self.root.exists():
            return
        for folder in _listed(self.store):
            if folder.name not in needed:
                files.remove_tree(folder)
        for path in [] if keep_incoming else _listed(self.incoming):
            path.unlink()
        for path in _listed(self.root):
            if path.name.startswith("."):
                path.unlink()
        for revision in sorted(needed):
            with contextlib.suppress(StoreFailure):
                self._publish(revision)
        self.blobs.collect_garbage()

    def rebuild_record(self) -> Record:
        """A record made from what is on disk.

        The linked revision is the active one, unless it was still on trial: then the one that was committed
        last is. Without a link nothing is active.
        """
        record, committed = new_record(self.key), self._committed()
        linked = self._linked()
        active = linked if linked is None or linked in committed or not committed else committed[-1]
        others = [revision for revision in committed if revision != active]
        return record.model_copy(update={"active": active, "previous": others[-1] if others else None})

    def _linked(self) -> str | None:
        try:
            revision = self.active_link.readlink().parent.name
        except OSError:
            return None
        return revision if self.is_installed(revision) else None

    def _committed(self) -> list[str]:
        """The installed revisions that passed their trials here, the last one last."""
        found = [folder.name for folder in _listed(self.store) if _REVISION.fullmatch(folder.name)]
        return sorted((revision for revision in found if self._mark(revision)), key=self._mark)

    def _mark(self, revision: str) -> int:
        """Place of a committed revision among the others; 0 for one that was not committed."""
        try:
            return int((self.home(revision) / _COMMITTED).read_bytes()[:16])
        except (OSError, ValueError):
            return 0

    def _publish(self, revision: str) -> None:
        """Lets other revisions find the files of an installed one, also of one from before there were blobs.

        Raises StoreFailure.
        """
        for digest, path in _places(self.home(revision), self._statement(revision)):
            if path.exists() and self.blobs.find(digest, path.stat().st_size) is None:
                self.blobs.publish(digest, path, self._draft_of_blob(digest))

    def _draft_of_blob(self, digest: str) -> Path:
        return self.incoming / f"{digest}.blob"

    def _statement(self, revision: str) -> RevisionStatement:
        path = self.home(revision) / _STATEMENT
        try:
            return RevisionStatement.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreFailure("RevisionDamaged", f"{path}: cannot be read: {error}") from error


def _places(home: Path, statement: RevisionStatement) -> Iterator[tuple[str, Path]]:
    """The contents of a revision, and where each belongs in its directory."""
    for file in statement.variants[0].files:
        yield file.sha256, files.join_inside(home / "files", file.path)
    if statement.golden is not None and statement.serve:
        yield statement.golden.sha256, home / "golden.npz"
    if statement.profile is not None and statement.serve:
        yield statement.profile.sha256, home / "profile.json"


def _listed(folder: Path) -> list[Path]:
    """What is in a directory, by name; nothing when it is not there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
