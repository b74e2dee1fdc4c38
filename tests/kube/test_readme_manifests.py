"""The manifests and the scrape configuration in the documentation are accepted by the real programs."""

import subprocess
from pathlib import Path

import pytest
import yaml

from edgelab import tools
from edgelab.controlplane import ControlPlane
from edgelab.fixtures import NewControlPlane
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, manifests, page


@pytest.mark.parametrize("path", ["README.md", "docs/guides/models.md"])
def test_the_api_server_accepts_the_manifests_in_the_documentation(
    control_plane: ControlPlane, namespace: str, path: str
) -> None:
    for manifest in manifests(path):
        metadata = manifest["metadata"]
        assert isinstance(metadata, dict)
        moved = {**manifest, "metadata": {**metadata, "namespace": namespace}}
        words = control_plane.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(moved)
        )
        assert words.split()[1] == "created"


@pytest.mark.parametrize("path", ["README.md", "docs/guides/operating.md"])
def test_the_install_command_in_the_documentation_works(
    new_control_plane: NewControlPlane, path: str
) -> None:
    lines = [line for block in blocks(page(path), "sh") for line in block.splitlines()]
    (command,) = (line.split("#")[0].split() for line in lines if "-f crds/" in line)
    arguments = [str(ROOT / word) if word.endswith("/") else word for word in command[1:]]
    cluster = new_control_plane()
    assert "edgecanary-operator serverside-applied" in cluster.kubectl(*arguments)
    assert "edgecanary-agent" in cluster.kubectl("get", "serviceaccounts", "-n", "edgecanary-system")


def test_prometheus_accepts_the_scrape_configuration_of_the_guide(tmp_path: Path) -> None:
    (text,) = (block for block in blocks(page("docs/guides/operating.md"), "yaml") if "scrape_" in block)
    # Some builds of Prometheus, Debian's among them, come without service discovery on Kubernetes.
    discovery = "kubernetes_sd_configs: [{role: node}]"
    assert discovery in text
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace(discovery, 'static_configs: [{targets: ["127.0.0.1:9011"]}]'))
    check = [str(tools.promtool()), "check", "config", "--syntax-only", str(file)]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
