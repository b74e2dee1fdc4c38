"""`make release`: builds all that a release consists of into dist/, and checks each part. It publishes nothing.

The parts are a wheel, a source archive, the packaged chart, one manifest for kubectl, the images where they can be
built, and SHA256SUMS of the files.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml

from bootstrap import find_uv
from edgecanary import __version__
from edgelab import tools
from edgelab.paths import ROOT

CHART = ROOT / "charts" / "edgecanary"
MANIFEST = ROOT / "config" / "install.yaml"
_SEMANTIC = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$")


class ReleaseError(Exception):
    """Something that must be mended before a release."""


def main() -> int:
    """Builds and checks; the exit code is 1 when something is to be mended."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="where to put the files")
    parser.add_argument("--no-images", action="store_true", help="leave the images out")
    options = parser.parse_args()
    try:
        files = release(options.output)
        if options.no_images:
            print("images: NOT BUILT, as --no-images asks")
        else:
            _run(sys.executable, "-m", "edgelab.images", "--tag", __version__)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(f"{path.stat().st_size:>10}  {path.name}")
    print(f"release {__version__}: ready in {options.output}; nothing was published")
    return 0


def release(output: Path) -> list[Path]:
    """Builds and checks the files of a release. Raises ReleaseError."""
    check_versions()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    _run(find_uv(), "build", "--quiet", "--out-dir", output, ROOT)
    check_packages(output)
    _run(tools.helm(), "lint", "--strict", CHART)
    _run(tools.helm(), "package", CHART, "--destination", output)
    _run(
        tools.helm(),
        "template",
        "edgecanary",
        output / f"edgecanary-{__version__}.tgz",
        "--namespace=edgecanary-system",
    )
    shutil.copy(MANIFEST, output / "install.yaml")
    (output / ".gitignore").unlink(missing_ok=True)
    files = sorted(output.iterdir())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (output / "SHA256SUMS").write_text(sums)
    return [*files, output / "SHA256SUMS"]


def check_versions() -> None:
    """One version everywhere, a semantic one, with words for its users. Raises ReleaseError."""
    if not _SEMANTIC.match(__version__):
        raise ReleaseError(f"the version must be a semantic one such as 1.2.3, it is {__version__!r}")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    for name in ("version", "appVersion"):
        if chart[name] != __version__:
            raise ReleaseError(
                f"charts/edgecanary/Chart.yaml: {name} must be {__version__}, it is {chart[name]}"
            )
    written = f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    if not written and not any((ROOT / "changes").glob("*.md")):
        raise ReleaseError(f"CHANGELOG.md must say what {__version__} brings; add fragments to changes/")


def check_packages(output: Path) -> None:
    """The wheel runs by itself, and the source archive has what the wheel is made of. Raises ReleaseError."""
    wheel = output / f"edgecanary-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(output / f"edgecanary-{__version__}.tar.gz") as archive:
        sources = {member.name.partition("/operator/")[2] for member in archive.getmembers()}
    code = {name for name in names if name.startswith("edgecanary/")}
    if lost := code - sources:
        raise ReleaseError(f"the source archive lacks {min(lost)} and {len(lost) - 1} more files")
    with tempfile.TemporaryDirectory() as folder:
        _run(find_uv(), "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel)
        said = _run(sys.executable, "-c", _SAY_VERSION, folder)
    if said.strip() != __version__:
        raise ReleaseError(f"the wheel says that it is {said.strip()!r}, not {__version__}")


_SAY_VERSION = "import sys; sys.path.insert(0, sys.argv[1]); import edgecanary; print(edgecanary.__version__)"


def _run(*command: str | Path) -> str:
    """The output of a command. Raises ReleaseError with its words when it fails."""
    result = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip()
        raise ReleaseError(f"{' '.join(str(word) for word in command[:3])}: {said[-2000:]}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
