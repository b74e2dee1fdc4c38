"""Kubernetes manifests from files: what is read, and what is refused by file, document and field."""

import io
import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from edgecanary.base.errors import InvalidInput
from edgecanary.cli.manifests import find_model, find_rollout, read_manifests

ROLLOUT = dedent("""\
    apiVersion: edgecanary.dev/v1alpha1
    kind: Rollout
    metadata: {name: pump, namespace: plant, creationTimestamp: 2026-01-05T08:00:00Z, managedFields: []}
    spec:
      modelRef: {name: pump}
      strategy: {steps: [{name: all, percent: 100}]}
    """)


def write(folder: Path, text: str) -> str:
    file = folder / "given.yaml"
    file.write_text(text)
    return str(file)


def refused(folder: Path, text: str) -> str:
    """What is said of the file, without its folder."""
    file = write(folder, text)
    with pytest.raises(InvalidInput) as caught:
        find_rollout(read_manifests(file), file=file)
    return caught.value.message.replace(f"{folder}/", "")


def test_several_documents_and_lists_are_read_in_order(tmp_path: Path) -> None:
    nodes = {"apiVersion": "v1", "kind": "NodeList", "items": [{"metadata": {"name": "a"}}]}
    more = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Node", "metadata": {"name": "b"}}]}
    text = f"---\n{ROLLOUT}---\n{json.dumps(nodes)}\n---\n{json.dumps(more)}\n---\n"
    found = read_manifests(write(tmp_path, text))
    assert [manifest.kind for manifest in found] == ["Rollout", "Node", "Node"]
    assert found[2].place.endswith("given.yaml, document 3, items[0]")


def test_json_is_read_too(tmp_path: Path) -> None:
    nodes = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Node", "metadata": {"name": "b"}}]}
    assert [manifest.kind for manifest in read_manifests(write(tmp_path, json.dumps(nodes)))] == ["Node"]


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(ROLLOUT.encode())

    monkeypatch.setattr(sys, "stdin", Input)
    assert find_rollout(read_manifests("-"), file="-").metadata.name == "pump"


def test_a_rollout_is_read_with_its_metadata(tmp_path: Path) -> None:
    file = write(tmp_path, ROLLOUT)
    found = find_rollout(read_manifests(file), file=file)
    assert (found.metadata.namespace, found.metadata.name) == ("plant", "pump")
    assert found.metadata.creation_timestamp is not None
    assert found.spec.strategy.steps[0].percent == 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "given.yaml: must hold Kubernetes objects in YAML, and is empty"),
        ("a: [1", "given.yaml: is not YAML: while parsing a flow sequence"),
        ("{", "given.yaml: is not JSON: Expecting property name"),
        ("- 1", "given.yaml, document 1: must be a Kubernetes object with apiVersion and kind"),
        ("kind: List", "given.yaml, document 1: items: must be a list"),
        ("{kind: List, items: [1]}", "given.yaml: is not JSON"),
        ("kind: List\nitems: [1]", "given.yaml, document 1: items[0]: must be an object"),
        ("kind: Pod", "given.yaml: must hold one Rollout, and holds 0 (kinds: Pod)"),
        (f"{ROLLOUT}---\n{ROLLOUT}", "given.yaml: must hold one Rollout, and holds 2 (kinds: Rollout)"),
        (
            ROLLOUT.replace("v1alpha1", "v9"),
            "given.yaml, document 1: apiVersion: must be edgecanary.dev/v1alpha1 for a Rollout",
        ),
        (ROLLOUT.replace("name: pump, names", "names"), "given.yaml, document 1: metadata.name: must be set"),
        (
            ROLLOUT.replace("percent: 100", "percent: 90"),
            "spec.strategy.steps: the last step must be percent: 100",
        ),
        (f"{ROLLOUT}status: {{attempt: -1}}", "given.yaml, document 1: attempt: Input should be greater"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).startswith(message)


def test_a_file_that_is_not_there_or_not_text_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml: cannot be read: No such file"):
        read_manifests(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="binary: must be text in UTF-8"):
        read_manifests(str(tmp_path / "binary"))


MODEL = dedent("""\
    ---
    apiVersion: edgecanary.dev/v1alpha1
    kind: EdgeModel
    metadata: {name: pump}
    spec:
      version: 2.0.0
      io: {inputs: [{name: x, dtype: FP32, shape: [-1, 4]}], outputs: [{name: y, dtype: FP32, shape: [-1, 1]}]}
      variants:
        - name: fp32
          format: ONNX
          entrypoint: m.onnx
          files: [{path: m.onnx, uri: "s3://models/m.onnx", sha256: DIGEST, sizeBytes: 9}]
    """).replace("DIGEST", '"' + "1" * 64 + '"')


def test_the_model_is_the_one_of_the_rollouts_name(tmp_path: Path) -> None:
    file = write(tmp_path, ROLLOUT + MODEL)
    manifests = read_manifests(file)
    found = find_model(manifests, "pump", file="given.yaml")
    assert found is not None
    assert found.spec.version == "2.0.0"
    with pytest.raises(
        InvalidInput, match=r"spec\.modelRef\.name: no EdgeModel 'door' in given\.yaml, which has pump"
    ):
        find_model(manifests, "door", file="given.yaml")


def test_a_file_without_any_model_has_none(tmp_path: Path) -> None:
    assert find_model(read_manifests(write(tmp_path, ROLLOUT)), "pump", file="f") is None


def test_a_broken_model_is_refused_by_its_field(tmp_path: Path) -> None:
    manifests = read_manifests(write(tmp_path, ROLLOUT + MODEL.replace("sizeBytes: 9", "sizeBytes: nine")))
    with pytest.raises(
        InvalidInput, match=r"spec\.variants\[0\]\.files\[0\]\.sizeBytes: input should be a valid integer"
    ):
        find_model(manifests, "pump", file="f")
