"""Fetch pinned release archives, and put what was made into the cache in one step."""

import contextlib
import hashlib
import platform
import shutil
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgelab.errors import LabError
from edgelab.tools.progress import reporting

_CONNECT_SECONDS = 10.0
_TOTAL_SECONDS = 900.0
_MOST_BYTES = 300_000_000


@dataclass(frozen=True)
class Archive:
    """A release archive (.tar.gz) for one platform.

    Attributes:
        url: where it is.
        algorithm: of the digest, a name that hashlib knows.
        digest: what the publisher says its digest is, in hex; empty when only those of its members are known.
        members: for each program wanted, its path inside the archive.
        member_digests: for a program, what its own digest must be, by the same algorithm.
    """

    url: str
    algorithm: str
    digest: str
    members: Mapping[str, str]
    member_digests: Mapping[str, str] = field(default_factory=dict)


def architecture() -> str:
    """This machine's architecture in Go's spelling.

    Raises:
        LabError: it is none that releases are published for.
    """
    machine = platform.machine()
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise LabError(f"no release is pinned for the architecture {machine}")
    return names[machine]


def fetch(archive: Archive, target: Path) -> None:
    """Download an archive, check its digest, and put its members into the new folder `target`.

    Raises:
        LabError: it cannot be reached, is too large, too slow, or not what the digest says.
    """
    name = archive.url.rsplit("/", 1)[-1]
    with reporting(f"downloading {name}"), new_folder(target) as folder:
        file = folder / name
        download(archive, file)
        with tarfile.open(file) as tar:
            for program, member in archive.members.items():
                source = tar.extractfile(member)
                if source is None:
                    raise LabError(f"{name} has no file {member}")
                with source, (folder / program).open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                check_digest(folder / program, archive.algorithm, archive.member_digests.get(program, ""))
                (folder / program).chmod(0o755)
        file.unlink()


def check_digest(file: Path, algorithm: str, wanted: str) -> None:
    """Hold a file against a digest; an empty one asks nothing.

    Raises:
        LabError: it is another file.
    """
    with file.open("rb") as content:
        found = hashlib.file_digest(content, algorithm).hexdigest()
    if wanted and found != wanted:
        raise LabError(f"{file.name}: {algorithm} is {found}, must be {wanted}")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` by rename when the block ends well.

    So a cache entry is whole or absent, whatever happens in between. The caller holds a lock
    (`edgelab.tools.progress.only_one`), so what an earlier attempt left half made can go.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".making-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as made:
        folder = Path(made) / target.name
        folder.mkdir()
        yield folder
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)


def download(archive: Archive, file: Path) -> None:
    """Download the archive itself.

    Raises:
        LabError: it cannot be reached, is too large, too slow, or not what the digest says.
    """
    deadline = time.monotonic() + _TOTAL_SECONDS
    digest = hashlib.new(archive.algorithm)
    try:
        with (
            urllib.request.urlopen(archive.url, timeout=_CONNECT_SECONDS) as answer,  # noqa: S310 (pinned https URLs)
            file.open("wb") as out,
        ):
            while chunk := answer.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
                if out.tell() > _MOST_BYTES or time.monotonic() > deadline:
                    raise LabError(f"{archive.url}: more than {_MOST_BYTES} bytes or {_TOTAL_SECONDS:g} s")
    except OSError as error:
        raise LabError(f"{archive.url}: {error}") from error
    if archive.digest and digest.hexdigest() != archive.digest:
        raise LabError(
            f"{archive.url}: {archive.algorithm} is {digest.hexdigest()}, must be {archive.digest}"
        )
