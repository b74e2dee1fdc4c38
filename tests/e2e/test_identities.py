"""What an agent may do to the API server, and what it may not."""

import pytest

from edgelab.errors import ApiError
from edgelab.fleet import Fleet
from edgelab.fleet.access import SYSTEM_NAMESPACE, agent_client
from edgelab.fleet.mirror import GROUP
from edgelab.paths import ROOT
from tests.e2e.scene import NAME, Scene

NODE = "edge-01"


@pytest.mark.parametrize(
    "path",
    [
        f"rollouts/{NAME}",
        f"rollouts/{NAME}/status",
        f"modelreleases/{NAME}",
        f"edgemodels/{NAME}",
        f"edgemodels/{NAME}/status",
    ],
)
def test_an_agent_cannot_write_what_decides_for_nodes(fleet: Fleet, path: str) -> None:
    agent = agent_client(fleet.control_plane, NODE)
    with pytest.raises(ApiError) as refused:
        agent.patch(f"{GROUP}/namespaces/default/{path}", {"metadata": {"labels": {"a": "b"}}})
    assert refused.value.status == 403


def test_an_agent_cannot_read_the_keys_of_the_bucket(scene: Scene) -> None:
    agent = agent_client(scene.fleet.control_plane, NODE)
    with pytest.raises(ApiError) as refused:
        agent.get(f"/api/v1/namespaces/{scene.subject.namespace}/secrets/model-bucket")
    assert refused.value.status == 403


def test_an_agent_may_read_releases(fleet: Fleet) -> None:
    agent = agent_client(fleet.control_plane, NODE)
    assert agent.get(f"{GROUP}/modelreleases")["kind"] == "ModelReleaseList"


def test_an_agent_cannot_write_another_nodes_report(fleet: Fleet) -> None:
    agent = agent_client(fleet.control_plane, NODE)
    path = f"{GROUP}/namespaces/{SYSTEM_NAMESPACE}/edgenodes"
    with pytest.raises(ApiError) as refused:
        agent.patch(f"{path}/edge-02/status", {"status": {"agentVersion": "forged"}})
    assert refused.value.status == 403
    assert "must be written by the agent of that node" in str(refused.value)
    agent.patch(f"{path}/{NODE}/status", {"status": {"agentVersion": "0"}})


def test_the_examples_are_accepted_by_the_api_server(fleet: Fleet) -> None:
    examples = ROOT / "examples" / "kubectl"
    fleet.control_plane.kubectl("apply", f"--filename={examples / 'namespace.yaml'}")
    for manifest in sorted(examples.glob("*.yaml")):
        fleet.control_plane.kubectl("apply", "--dry-run=server", f"--filename={manifest}")
