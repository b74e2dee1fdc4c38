"""Contents by their SHA-256, for all models of a node: how revisions share files.

A blob is one more name for a file that installed revisions hold. The file system counts the names: a blob
with no other name is needed by nobody. Whoever uses a content has a name of his own for it, so removing a blob
never takes a file from anyone.
"""

import os
from pathlib import Path

from edgecanary.agent import files


class Blobs:
    """The directory of contents. Raises OSError where the disk fails."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, sha256: str, size: int) -> Path | None:
        """The file that should have these bytes; they are compared before use."""
        path = self.root / sha256
        try:
            return path if path.lstat().st_size == size else None
        except FileNotFoundError:
            return None

    def publish(self, sha256: str, source: Path, draft: Path) -> None:
        """Makes a verified file findable; `draft` is a free name. One of other bytes under this name goes."""
        blob = self.root / sha256
        if blob.exists() and blob.samefile(source):
            return
        self.root.mkdir(mode=0o755, exist_ok=True)
        if files.link_if_possible(source, draft):
            draft.replace(blob)

    def drop(self, sha256: str) -> None:
        """Takes the name from a content that turned out to be another."""
        (self.root / sha256).unlink(missing_ok=True)

    def collect_garbage(self) -> None:
        """Removes the contents that no revision and no installation under way has a name for."""
        if not self.root.exists():
            return
        for entry in sorted(os.scandir(self.root), key=lambda entry: entry.name):
            if entry.stat(follow_symlinks=False).st_nlink == 1:
                Path(entry).unlink(missing_ok=True)
