"""`make release` builds all parts and checks them, and the workflows call nothing but the Makefile."""

import hashlib
import re
from pathlib import Path

import pytest
import yaml

import release
from edgecanary import __version__
from edgelab.paths import ROOT


def test_a_release_has_packages_chart_manifest_and_their_digests(tmp_path: Path) -> None:
    files = release.release(tmp_path / "dist")
    assert {path.name for path in files} == {
        f"edgecanary-{__version__}-py3-none-any.whl",
        f"edgecanary-{__version__}.tar.gz",
        f"edgecanary-{__version__}.tgz",
        "install.yaml",
        "SHA256SUMS",
    }
    for line in (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((tmp_path / "dist" / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("version", ["1.0", "01.2.3", "1.2.3.4", "next"])
def test_a_version_that_is_not_semantic_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(release, "__version__", version)
    with pytest.raises(release.ReleaseError, match="must be a semantic one"):
        release.check_versions()


def test_a_chart_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "__version__", "99.0.0")
    with pytest.raises(release.ReleaseError, match=r"Chart\.yaml: version must be 99\.0\.0"):
        release.check_versions()


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_workflows_call_targets_of_the_makefile(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        assert re.fullmatch(r"make ([a-z-]+)", command), command
        assert command.split()[1] in targets
