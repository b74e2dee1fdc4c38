"""kind-config.yaml, read by the real kind: it reads its file before it asks Docker for anything."""

import os
import subprocess
from pathlib import Path

import pytest

from edgelab import tools
from edgelab.site.kind import CONFIG

NO_DOCKER = "#!/bin/sh\necho 'no Docker here' >&2\nexit 1\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which Docker is there and refuses everything."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(NO_DOCKER)
    docker.chmod(0o755)
    path = f"{docker.parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "KIND_EXPERIMENTAL_PROVIDER": "docker"}


def create(config: Path, environment: dict[str, str], kubeconfig: Path) -> str:
    """What kind says when it is to make a cluster from a file."""
    command = [str(tools.kind()), "create", "cluster", f"--config={config}", f"--kubeconfig={kubeconfig}"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    return result.stderr


def test_kind_reads_the_configuration_and_goes_on_to_docker(
    environment: dict[str, str], tmp_path: Path
) -> None:
    said = create(CONFIG, environment, tmp_path / "kubeconfig")
    assert "no Docker here" in said
    assert "decod" not in said


def test_kind_refuses_a_field_that_it_does_not_know(environment: dict[str, str], tmp_path: Path) -> None:
    wrong = tmp_path / "kind-config.yaml"
    wrong.write_text(CONFIG.read_text().replace("labels:", "lables:"))
    said = create(wrong, environment, tmp_path / "kubeconfig")
    assert "lables" in said
