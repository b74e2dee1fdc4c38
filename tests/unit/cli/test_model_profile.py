"""`edgecanary model profile`: a profile from real requests that the operator and the nodes can read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from edgecanary.analysis.profile import parse_profile
from edgecanary.api.artifacts import ModelIO
from edgecanary.cli.main import main
from tests.unit.agent.releasing import statement
from tests.unit.signing import spec_of

MANY = np.random.default_rng(3).normal(size=(400, 4)).astype(np.float32)
FIELDS = {
    "inputs": [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 2]}],
}
Floats = NDArray[np.float32]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    spec = spec_of(statement("1")).model_copy(update={"io": ModelIO.model_validate(FIELDS)})
    body = {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": "pump", "namespace": "plant"},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    path = tmp_path / "edgemodel.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def profile(manifest: Path, **arrays: Floats) -> int:
    requests = manifest.with_name("requests.npz")
    np.savez(requests, **{name.replace("_", ":"): array for name, array in arrays.items()})  # type: ignore[arg-type]
    output = str(manifest.with_name("profile.json"))
    return main(
        ["model", "profile", str(manifest), "--requests", str(requests), "-o", output, "--uri", "s3://b/p"]
    )


def test_the_profile_counts_the_requests_and_what_is_printed_is_a_part_of_the_manifest(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile(manifest, input_x=MANY, output_y=MANY[:, :2]) == 0
    data = manifest.with_name("profile.json").read_bytes()
    found = parse_profile(data, ModelIO.model_validate(FIELDS))
    assert found.samples == 400
    assert [feature.name for feature in found.features] == [
        "y.Confidence", "x.Element0", "x.Element1", "x.Element2", "x.Element3",
    ]  # fmt: skip
    printed = yaml.safe_load(capsys.readouterr().out)["profile"]
    digest = hashlib.sha256(data).hexdigest()
    assert printed == {"uri": "s3://b/p", "sha256": digest, "sizeBytes": len(data)}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"input_x": MANY}, "--requests: must have an array output:y, as spec.io says; it has input:x"),
        ({"input_x": MANY, "output_y": MANY[:9]}, "all arrays must hold the same number of requests"),
        ({"input_x": MANY[:9], "output_y": MANY[:9]}, "must hold at least 50 requests"),
    ],
)
def test_requests_that_make_no_profile_are_refused(
    manifest: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Floats], said: str
) -> None:
    assert profile(manifest, **arrays) == 2
    assert said in capsys.readouterr().err
    assert not manifest.with_name("profile.json").exists()


def test_a_file_that_is_no_npz_is_named(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(manifest.with_name("profile.json"))
    assert main(["model", "profile", str(manifest), "--requests", str(manifest), "-o", output]) == 2
    assert "edgemodel.yaml must be an .npz file" in capsys.readouterr().err
