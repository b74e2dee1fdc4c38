"""A base image made from the system's own Debian packages, for machines that reach no image registry.

It holds Python, its libraries and the CA certificates, and like the published base of images/Dockerfile no
shell and no package manager. mmdebstrap finds the packages and fetches them; nothing of them is run.
"""

import contextlib
import hashlib
import io
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgelab.errors import LabError
from edgelab.paths import cache_folder
from edgelab.tools.download import new_folder
from edgelab.tools.progress import only_one, reporting, run
from edgelab.tools.system import need

INCLUDE = ("python3", "ca-certificates", "libstdc++6")
DROPPED = (
    "ca-certificates", "debconf", "dpkg", "libacl1", "libmd0", "libpcre2-8-0", "libselinux1", "libzstd1",
    "openssl", "readline-common", "tar",
)  # fmt: skip
"""What the packages of a whole system ask for and Python does not; of ca-certificates one file is kept."""

UNREAD = (
    "usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/python3",
    "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/aarch64-linux-gnu/gconv", "usr/lib/python3.11/test",
)  # fmt: skip
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
GROUP = "root:x:0:\nnonroot:x:65532:\n"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"

_EDITION = 1
"""To be counted up when the code below makes something else of the same lists."""

_KEY = hashlib.sha256(repr((_EDITION, INCLUDE, DROPPED, UNREAD, PASSWD, GROUP)).encode()).hexdigest()[:12]


def base_archive(architecture: str) -> Path:
    """The base's root file system as a tar archive, made once for each architecture (amd64 or arm64).

    Raises:
        MissingToolError: this is not Debian or Ubuntu.
        LabError: the packages cannot be had.
    """
    folder = cache_folder() / "images" / f"base-{_release()['VERSION_CODENAME']}-{architecture}-{_KEY}"
    need({"mmdebstrap": "mmdebstrap", "dpkg-deb": "dpkg"})
    with only_one("image-base"):
        if not folder.is_dir():
            with (
                reporting(f"making a base image from {_release()['PRETTY_NAME']}'s packages"),
                new_folder(folder) as made,
                tempfile.TemporaryDirectory(prefix="edgelab-base-") as scratch,
            ):
                root = _root(Path(scratch), architecture)
                (made / "root.tar").write_bytes(tar_of(root))
    return folder / "root.tar"


def _root(scratch: Path, architecture: str) -> Path:
    packages, root = scratch / "packages", scratch / "root"
    packages.mkdir()
    root.mkdir()
    copy = f'cp "$1"/var/cache/apt/archives/*.deb {packages}'
    command = [
        "mmdebstrap",
        "--variant=extract",
        f"--architectures={architecture}",
        f"--include={','.join(INCLUDE)}",
        f"--extract-hook={copy}",
        "--skip=check/qemu",
        _release()["VERSION_CODENAME"],
        "/dev/null",
    ]
    run(command, cwd=scratch)
    for package in sorted(packages.glob("*.deb")):
        _unpack(package, root)
    _remove_unread(root)
    _write_settings(root)
    return root


def _unpack(package: Path, root: Path) -> None:
    """Unpack one package, with its record where scanners of images look for it."""
    record = _output(["dpkg-deb", "--field", str(package)])
    name = _output(["dpkg-deb", "--field", str(package), "Package"]).strip()
    if name == "ca-certificates":
        _take_certificates(package, root)
    if name in DROPPED:
        return
    run(["dpkg-deb", "--extract", str(package), str(root)], cwd=root)
    file = root / "var" / "lib" / "dpkg" / "status.d" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(record)


def _take_certificates(package: Path, root: Path) -> None:
    """Put the certificates into one file, as the package's own installation would."""
    with tempfile.TemporaryDirectory() as folder:
        run(["dpkg-deb", "--extract", str(package), folder], cwd=root)
        found = sorted(Path(folder).rglob("*.crt"))
        if not found:
            raise LabError(f"{package.name} holds no certificate")
        bundle = root / BUNDLE
        bundle.parent.mkdir(parents=True, exist_ok=True)
        bundle.write_bytes(b"".join(path.read_bytes().rstrip() + b"\n" for path in found))


def _remove_unread(root: Path) -> None:
    for name in UNREAD:
        for folder, _, files in os.walk(root / name, topdown=False):
            for file in files:
                # Licences stay.
                if file != "copyright":
                    Path(folder, file).unlink()
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _write_settings(root: Path) -> None:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    (root / "etc" / "nsswitch.conf").write_text("hosts: files dns\n")
    (root / "etc" / "os-release").write_text(Path("/etc/os-release").read_text())
    for name, mode in (("tmp", 0o1777), ("home/nonroot", 0o700), ("root", 0o700)):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)


def tar_of(root: Path) -> bytes:
    """A folder as an archive that is the same each time: sorted, owned by root, without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _sorted(root):
            name = path.relative_to(root).as_posix()
            entry = tar.gettarinfo(path, name)
            owner = 65532 if name == "home/nonroot" else 0
            entry.uid = entry.gid = owner
            entry.uname = entry.gname = ""
            entry.mtime = 0
            if entry.isreg():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return buffer.getvalue()


def _sorted(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _sorted(path)


def _release() -> dict[str, str]:
    return platform.freedesktop_os_release()


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout
