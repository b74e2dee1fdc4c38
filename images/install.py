"""Fills /opt/edgecanary in a stage of the Dockerfile, with nothing but the standard library.

    python3 images/install.py lock
    python3 images/install.py dependencies
    python3 images/install.py project

The first writes what uv.lock has for each program into operator.txt and agent.txt. The second installs what
requirements.txt lists for the architecture TARGETARCH, as wheels of the digests that it names; nothing of
them is run. The third builds the project's own wheel and installs that. The last two leave the same bytes
each time: bytecode that does not name times, and files without a time of their own.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path("/opt/edgecanary")
PYTHON = "/usr/bin/python3"
CERTIFICATES = Path("/run/secrets/certificates")
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
NEVER_RUN = (
    "tests",
    "test",
    "include",
    "*.pyi",
    "*.pxd",
    # The library for programs in C; Python's module has its own copy inside.
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/transformers",
    # The backend for other Pythons than CPython.
    "zstandard/_cffi*",
    # A second client, for asyncio.
    "kubernetes/aio",
)
"""What packages bring along and no program reads."""
INSTALLERS_OWN = ("uv_cache.json", "direct_url.json")
SERVICES = ("s3", "sts", "sso", "sso-oidc", "signin")
"""The services of AWS that the operator speaks to: the store, and those that give keys for it."""


def main() -> int:
    """Do what the arguments say. The exit code is 0."""
    environment = {**os.environ, "UV_CACHE_DIR": "/cache/uv", "UV_LINK_MODE": "copy", "UV_NO_CONFIG": "1"}
    os.environ["EDGECANARY_CACHE"] = "/cache"
    if CERTIFICATES.exists():
        environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"] = str(CERTIFICATES)
    uv = find_uv()

    def run(*words: str) -> None:
        subprocess.run([uv, *words], check=True, cwd=ROOT, env=environment)

    if sys.argv[1] == "lock":
        write_requirements(run)
        return 0
    run("venv", "--quiet", "--python", PYTHON, str(TARGET))
    if sys.argv[1] == "dependencies":
        install_dependencies(run)
    else:
        install_project(run)
    tidy(TARGET)
    return 0


def find_uv() -> str:
    """The uv that hack/bootstrap.py pins."""
    sys.path.insert(0, str(ROOT / "hack"))
    import bootstrap  # noqa: PLC0415 (it is found only now)

    return str(bootstrap.find_uv())


def write_requirements(run: Callable[..., None]) -> None:
    """Write each program's packages with their digests."""
    for extra in ("operator", "agent"):
        path = ROOT / f"{extra}.txt"
        own = ("--frozen", "--no-dev", "--no-emit-project", "--no-header", "--extra", extra)
        run("export", "--quiet", *own, "--output-file", str(path))
        os.utime(path, (0, 0))


def install_dependencies(run: Callable[..., None]) -> None:
    """Install what requirements.txt lists."""
    platform = PLATFORMS[os.environ.get("TARGETARCH", "amd64")]
    checked = ("--require-hashes", "--no-deps", "--only-binary=:all:", "--python-platform", platform)
    into = ("--python", f"{TARGET}/bin/python")
    run("pip", "install", "--quiet", *into, *checked, "--requirement", "requirements.txt")


def install_project(run: Callable[..., None]) -> None:
    """Build the project's wheel with the locked build tool, and install it without what it needs."""
    run("sync", "--quiet", "--frozen", "--only-group", "build", "--no-install-project", "--python", PYTHON)
    subprocess.run(
        [".venv/bin/hatchling", "build", "--target", "wheel", "--directory", "/build/dist"],
        check=True,
        cwd=ROOT,
    )
    (wheel,) = Path("/build/dist").glob("*.whl")
    run("pip", "install", "--quiet", "--python", f"{TARGET}/bin/python", "--no-deps", "--offline", str(wheel))


def tidy(folder: Path) -> None:
    """Remove what never runs, compile the rest, and take the times off."""
    packages = next(folder.glob("lib/python3.*/site-packages"))
    for pattern in NEVER_RUN:
        for path in sorted(packages.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    for path in packages.glob("botocore/data/*/"):
        if path.name not in SERVICES:
            shutil.rmtree(path)
    forget_the_installer(folder, packages)
    compileall.compile_dir(
        packages, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, workers=1
    )
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (0, 0), follow_symlinks=False)


def forget_the_installer(folder: Path, packages: Path) -> None:
    """Remove what uv keeps for itself, such as when it installed a package, and its mention in the records."""
    (folder / ".lock").unlink(missing_ok=True)
    for name in INSTALLERS_OWN:
        for note in packages.glob(f"*.dist-info/{name}"):
            record = note.parent / "RECORD"
            lines = record.read_text().splitlines(keepends=True)
            record.write_text("".join(line for line in lines if f"/{name}," not in line))
            note.unlink()


if __name__ == "__main__":
    sys.exit(main())
