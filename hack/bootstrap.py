#!/usr/bin/env python3
"""Make `.venv` in this checkout from uv.lock, with nothing but a Python 3.9 or later.

uv comes from PATH when it is new enough, else from the cache folder, else from the package index:
a pinned wheel, checked against its SHA-256, fetched by pip where there is one. uv brings a Python
of its own when this machine's are older than the project needs. A second run does nothing until
uv.lock or pyproject.toml changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / "edgecanary-stamp"

UV_OLDEST = (0, 9)
UV_VERSION = "0.13.9"
UV_WHEELS = {
    "uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": (
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
    ),
    "uv-0.13.9-py3-none-musllinux_1_1_x86_64.whl": (
        "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25"
    ),
    "uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl": (
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"
    ),
    "uv-0.13.9-py3-none-manylinux_2_28_aarch64.whl": (
        "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375"
    ),
}
WHEEL_MOST_BYTES = 60_000_000
REPORT_EVERY_SECONDS = 20.0


class BootstrapError(Exception):
    """The environment cannot be made; the message says what to do."""


def main() -> int:
    """Make or update the environment when it is not what the lock file says."""
    wanted = fingerprint()
    if is_made(wanted):
        STAMP.touch()
        return 0
    with (ROOT / "uv.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made(wanted):
            sync(find_uv())
            STAMP.write_text(wanted)
    return 0


def fingerprint() -> str:
    """What the environment depends on: the lock, the project and the place of the checkout."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ("uv.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_made(wanted: str) -> bool:
    """Whether the environment is there and made from this lock."""
    return (VENV / "bin" / "python").exists() and STAMP.exists() and STAMP.read_text() == wanted


def cache_folder() -> Path:
    """The folder for what every checkout shares (as in hack/edgelab/paths.py)."""
    if os.environ.get("EDGECANARY_CACHE"):
        return Path(os.environ["EDGECANARY_CACHE"]).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "edgecanary"


def sync(uv: Path) -> None:
    """Install exactly what uv.lock says.

    Raises:
        BootstrapError: uv failed; its own words have been printed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment["UV_PROJECT_ENVIRONMENT"] = str(VENV)
    command = [str(uv), "sync", "--frozen", "--all-extras"]
    with Progress("installing the locked packages into .venv"):
        result = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        raise BootstrapError(
            f"`uv sync` ended with exit code {result.returncode} (its words are above). It needs the"
            " package index, and a Python 3.11 or later on PATH or the permission to download one."
        )


def find_uv() -> Path:
    """The uv program from PATH, the cache folder or the package index.

    Raises:
        BootstrapError: it is not to be had.
    """
    on_path = shutil.which("uv")
    if on_path and uv_version(on_path) >= UV_OLDEST:
        return Path(on_path)
    cached = cache_folder() / "tools" / "uv" / UV_VERSION / "uv"
    if not cached.exists():
        with Progress(f"fetching uv {UV_VERSION}"):
            install_uv(cached)
    return cached


def uv_version(program: str) -> tuple[int, ...]:
    """The version of a uv program; empty when it does not say."""
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"uv (\d+)\.(\d+)", result.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def install_uv(target: Path) -> None:
    """Fetch the pinned wheel and put its program at `target`, in one step.

    Raises:
        BootstrapError: the wheel is not to be had, or is not the pinned one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for fetch in (wheel_by_pip, wheel_by_index):
        try:
            wheel = fetch()
            break
        except (BootstrapError, OSError, ValueError) as error:
            reasons.append(f"- {error}")
    else:
        raise BootstrapError(
            "uv cannot be had:\n" + "\n".join(reasons) + "\nTo get it: install uv "
            f"{'.'.join(map(str, UV_OLDEST))} or later so that it is on PATH, or allow the package index."
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        program = archive.read(f"uv-{UV_VERSION}.data/scripts/uv")
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as new:
        new.write(program)
    Path(new.name).chmod(0o755)
    Path(new.name).rename(target)


def wheel_by_pip() -> bytes:
    """The wheel, through pip, which knows this machine's index and certificates.

    Raises:
        BootstrapError: there is no pip, or it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "uv.txt"
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in UV_WHEELS.values())
        requirement.write_text(f"uv=={UV_VERSION} {hashes}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", f"--dest={folder}"]
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement)]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise BootstrapError(f"pip: {last_line(result.stderr)}")
        (wheel,) = Path(folder).glob("uv-*.whl")
        return checked(wheel.name, wheel.read_bytes())


def wheel_by_index() -> bytes:
    """The wheel, straight from the package index.

    Raises:
        BootstrapError: the index lacks it, or sent something else.
        OSError: the index cannot be reached.
    """
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page = f"{index.rstrip('/')}/uv/"
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    listing = json.loads(read(page, accept))
    name = wheel_name()
    for file in listing["files"]:
        if file["filename"] == name:
            return checked(name, read(urllib.parse.urljoin(page, file["url"]), {}))
    raise BootstrapError(f"{page} has no file {name}")


def wheel_name() -> str:
    """The name of the wheel for this machine.

    Raises:
        BootstrapError: no wheel is pinned for it.
    """
    machine = platform.machine()
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    for name in UV_WHEELS:
        if sys.platform == "linux" and machine in name and libc in name:
            return name
    raise BootstrapError(f"no uv is pinned for {sys.platform} on {machine}")


def read(url: str, headers: dict[str, str]) -> bytes:
    """The body of a bounded answer; what it must be is checked by its digest.

    Raises:
        BootstrapError: it is too long.
        OSError: it cannot be reached.
    """
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (the index may be a local one)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        body: bytes = answer.read(WHEEL_MOST_BYTES + 1)
    if len(body) > WHEEL_MOST_BYTES:
        raise BootstrapError(f"{url}: more than {WHEEL_MOST_BYTES} bytes")
    return body


def checked(name: str, wheel: bytes) -> bytes:
    """The wheel, when its digest is the pinned one.

    Raises:
        BootstrapError: it is not.
    """
    digest = hashlib.sha256(wheel).hexdigest()
    if digest != UV_WHEELS.get(name):
        raise BootstrapError(f"{name}: SHA-256 is {digest}, must be {UV_WHEELS.get(name)}")
    return wheel


def last_line(text: str) -> str:
    """The last line with something in it."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no words"


class Progress:
    """Says what goes on: at its start, every 20 s, and at its end."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = time.monotonic()
        self.done = threading.Event()
        self.reporter = threading.Thread(target=self.report, daemon=True)

    def __enter__(self) -> None:
        print(f"{self.what} …", flush=True)
        self.reporter.start()

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.done.set()
        self.reporter.join()
        outcome = "done" if kind is None else "failed"
        print(f"{self.what}: {outcome} after {self.seconds()} s", flush=True)

    def report(self) -> None:
        """One line every 20 s until the end."""
        while not self.done.wait(REPORT_EVERY_SECONDS):
            print(f"  {self.what}: {self.seconds()} s so far", flush=True)

    def seconds(self) -> int:
        """The time gone, in whole seconds."""
        return round(time.monotonic() - self.start)


def fail(message: str) -> NoReturn:
    """Print an error and end with exit code 1."""
    print(f"bootstrap: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    if sys.version_info < (3, 9):  # noqa: UP036 (any Python may run this file)
        fail(f"needs Python 3.9 or later to begin with; this is {platform.python_version()}")
    try:
        sys.exit(main())
    except BootstrapError as error:
        fail(str(error))
