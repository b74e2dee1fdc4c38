"""A revision's identity: what makes it another one and what does not."""

import copy
from typing import Any

import pytest

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.artifact.revision import revision_digest

SPEC: dict[str, object] = {
    "version": "2.4.0",
    "sourceSecretRef": {"name": "model-bucket"},
    "io": {
        "inputs": [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 1]}],
    },
    "golden": {
        "uri": "s3://models/golden.npz",
        "sha256": "9" * 64,
        "sizeBytes": 20,
        "absoluteTolerance": "0.001",
    },
    "variants": [
        {
            "name": "fp32",
            "format": "ONNX",
            "entrypoint": "m.onnx",
            "files": [{"path": "m.onnx", "uri": "s3://models/m.onnx", "sha256": "1" * 64, "sizeBytes": 9}],
            "requires": {"minMemory": "64Mi"},
        }
    ],
}


def test_where_the_drift_profile_lies_is_no_part_of_the_identity_but_its_content_is() -> None:
    def digest(uri: str, sha256: str) -> str:
        return revision_digest(changed("profile", {"uri": uri, "sha256": sha256, "sizeBytes": 9}))

    assert digest("s3://models/p.json", "7" * 64) == digest("https://b.example.com/p.json", "7" * 64)
    assert digest("s3://models/p.json", "7" * 64) != digest("s3://models/p.json", "8" * 64)


def changed(path: str, value: object) -> EdgeModelSpec:
    spec: Any = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    at = spec
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    return EdgeModelSpec.model_validate(spec)


def test_the_digest_of_a_known_model_never_changes_between_releases_of_the_program() -> None:
    assert revision_digest(EdgeModelSpec.model_validate(SPEC)) == (
        "b0303bfc9cb89f4e37d5627b0f605c02ea5b1b1bcccb8d26ae820445fe6c7048"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("variants.0.files.0.sha256", "2" * 64),
        ("variants.0.files.0.path", "n.onnx"),
        ("variants.0.files.0.sizeBytes", 10),
        ("variants.0.requires.minMemory", "128Mi"),
        ("variants.0.budget", {"latencyP95Milliseconds": 5}),
        ("golden.sha256", "8" * 64),
        ("golden.absoluteTolerance", "0.1"),
        ("profile", {"uri": "s3://models/p.json", "sha256": "7" * 64, "sizeBytes": 9}),
        ("io.inputs.0.shape", [-1, 5]),
        ("serve", False),
    ],
)
def test_what_decides_behaviour_makes_another_revision(path: str, value: object) -> None:
    if path.endswith("files.0.path"):
        assert changed("variants.0.entrypoint", "n.onnx").variants[0].entrypoint == "n.onnx"
    assert revision_digest(changed(path, value)) != revision_digest(EdgeModelSpec.model_validate(SPEC))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", "2.4.1-renamed"),
        ("variants.0.files.0.uri", "https://models.example.com/m.onnx"),
        ("golden.uri", "s3://elsewhere/golden.npz"),
        ("sourceSecretRef", {"name": "other-secret"}),
        ("variants.0.files.0.deltas", []),
        (
            "variants.0.files.0.deltas",
            [
                {
                    "fromSha256": "3" * 64,
                    "format": "XorZstd",
                    "uri": "s3://models/m.delta",
                    "sha256": "4" * 64,
                    "sizeBytes": 3,
                }
            ],
        ),
    ],
)
def test_names_and_places_do_not(path: str, value: object) -> None:
    assert revision_digest(changed(path, value)) == revision_digest(EdgeModelSpec.model_validate(SPEC))
