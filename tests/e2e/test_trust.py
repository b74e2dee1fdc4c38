"""Signed models on a fleet with trust roots: the operator carries statements, and each node decides."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.edgenode import NodeModelStatus
from edgecanary.artifact.revision import revision_digest
from edgecanary.cli.main import main
from edgelab.api import JsonObject
from edgelab.fleet import Fleet
from edgelab.modelzoo import edge_model, edge_model_spec
from tests.e2e.scene import NAME, STEPS, Scene

MODEL = "tiny"


class Press:
    """Where models are signed: two keys, and the agents' public halves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trusted = folder / "trusted"
        self.trusted.mkdir()
        for name in ("new", "old", "stranger"):
            assert main(["model", "sign", "--new-key", str(folder / name)]) == 0
        for name in ("new", "old"):
            (folder / f"{name}.pub").rename(self.trusted / f"{name}.pub")

    def sign(self, manifest: JsonObject, key: str, sequence: int) -> str:
        """The signature that the command puts into the manifest."""
        path = self.folder / "model.yaml"
        path.write_text(yaml.safe_dump(manifest))
        given = ["--key", str(self.folder / key), "--sequence", str(sequence)]
        assert main(["model", "sign", "--in-place", *given, str(path)]) == 0
        return str(yaml.safe_load(path.read_text())["spec"]["signature"])


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Press:
    return Press(tmp_path_factory.mktemp("press"))


@pytest.fixture(scope="module")
def guarded(fleet: Fleet, press: Press) -> Iterator[Fleet]:
    """The fleet with trust roots on every node; afterwards without."""
    fleet.restart_agents((*fleet.settings.agent_flags, f"--trust-root={press.trusted}"))
    yield fleet
    fleet.restart_agents(fleet.settings.agent_flags)


def manifest_of(scene: Scene, number: int, *, name: str = NAME) -> JsonObject:
    """The EdgeModel's version `number`: the same files under another budget, so another revision."""
    spec = edge_model_spec(
        scene.fleet.zoo[MODEL],
        f"s3://{scene.fleet.bucket}/{scene.subject.namespace}",
        secret="model-bucket",
    )
    spec["version"] = f"{number}.0.0"
    (variant,) = json.loads(json.dumps(spec["variants"]))
    spec["variants"] = [{**variant, "budget": {"latencyP95Milliseconds": 60000 + number}}]
    return dict(edge_model(name, scene.subject.namespace, spec))


def apply(scene: Scene, manifest: JsonObject, signature: str | None) -> str:
    """Applies the EdgeModel with the signature; its revision."""
    signed = {**manifest, "spec": {**manifest["spec"], **({"signature": signature} if signature else {})}}
    scene.fleet.apply(signed)
    return revision_digest(EdgeModelSpec.model_validate(manifest["spec"]))


def roll_out(scene: Scene) -> None:
    metadata = {"name": NAME, "namespace": scene.subject.namespace}
    spec = {
        "modelRef": {"name": NAME},
        "nodeSelector": {"matchLabels": {"edge": "true"}},
        "strategy": {"initial": "AllAtOnce", "steps": list(STEPS), "quorumPercent": 100},
        "health": {"soakSeconds": 1},
    }
    scene.fleet.apply(
        {"apiVersion": "edgecanary.dev/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}
    )


def tampered(signature: str) -> str:
    """The same envelope over another payload."""
    envelope = json.loads(signature)
    start = envelope["payload"]
    envelope["payload"] = start[:-8] + ("AAAA" if start[-8:-4] != "AAAA" else "BBBB") + start[-4:]
    return json.dumps(envelope)


def test_only_what_is_signed_for_the_model_reaches_the_nodes(
    guarded: Fleet, scene: Scene, press: Press
) -> None:
    guarded.upload(MODEL, scene.subject.namespace)
    first, second = manifest_of(scene, 1), manifest_of(scene, 2)
    stable = apply(scene, first, press.sign(first, "new", 10))
    roll_out(scene)
    scene.subject.promoted(stable)
    assert scene.subject.running(stable) == scene.nodes

    good = press.sign(second, "new", 11)
    refusals: dict[str, str | None] = {
        "Unsigned": None,
        "BadSignature": tampered(good),
        "WrongModel": press.sign(manifest_of(scene, 2, name="other"), "new", 11),
        "SequenceTooLow": press.sign(second, "new", 9),
        "UnknownKey": press.sign(second, "stranger", 11),
        "StatementMismatch": press.sign(manifest_of(scene, 3), "new", 11),
    }
    canary = revision_digest(EdgeModelSpec.model_validate(second["spec"]))
    (node,) = scene.subject.cohort(canary, step=0)
    for reason, signature in refusals.items():
        apply(scene, second, signature)
        report = scene.subject.wait(f"the node refuses it: {reason}", _refusing(scene, node, reason))
        assert (report.desired, report.active) == (canary, stable)
        assert (report.state, report.result, report.rejected) == ("Pending", "PrecheckFailed", ())
        scene.subject.wait(f"the Rollout counts it: {reason}", lambda: _refused_by(scene) == 1)
    assert scene.subject.status().rejected == (), "trust is not the model's fault"
    assert scene.subject.status().nodes.failed == 0
    assert scene.subject.running(stable) == scene.nodes - {node}
    assert scene.subject.answering({node}) == {node: stable}

    apply(scene, second, press.sign(second, "old", 11))
    scene.subject.promoted(canary)
    assert scene.subject.running(canary) == scene.nodes


def _refused_by(scene: Scene) -> int:
    return scene.subject.status().nodes.failures.precheck


def _refusing(scene: Scene, node: str, reason: str) -> Callable[[], NodeModelStatus | None]:
    def look() -> NodeModelStatus | None:
        found = scene.subject.reports().get(node)
        return found if found and found.reason == reason else None

    return look
