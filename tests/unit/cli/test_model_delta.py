"""`edgecanary model delta`: makes a delta that a node takes, and says when it would not."""

import hashlib
import io
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgecanary.api.artifacts import FileDelta, ModelFile
from edgecanary.artifact.delta_apply import apply_delta
from edgecanary.cli.main import main

OLD = random.Random(1).randbytes(200_000)
NEW = OLD[:100_000] + b"something new" + OLD[100_000:]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "old.onnx").write_bytes(OLD)
    (tmp_path / "new.onnx").write_bytes(NEW)
    return tmp_path


def make(place: Path, *more: str, new: str = "new.onnx") -> int:
    names = [str(place / "old.onnx"), str(place / new)]
    return main(["model", "delta", *names, "-o", str(place / "made"), "--level", "3", *more])


def test_the_delta_makes_the_new_file_and_what_is_printed_is_a_part_of_an_edge_model(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(place, "--uri", "s3://models/pump.delta") == 0
    printed = capsys.readouterr()
    (stanza,) = yaml.safe_load(printed.out)["deltas"]
    delta = FileDelta.model_validate(stanza)
    made = (place / "made").read_bytes()

    assert (delta.sha256, delta.size_bytes) == (hashlib.sha256(made).hexdigest(), len(made))
    assert (delta.from_sha256, delta.uri) == (hashlib.sha256(OLD).hexdigest(), "s3://models/pump.delta")
    assert b"".join(apply_delta(io.BytesIO(made), io.BytesIO(OLD), len(NEW))) == NEW
    assert "ZstdPatch: " in printed.err
    assert "XorZstd: " in printed.err
    digest = hashlib.sha256(NEW).hexdigest()
    ModelFile(path="m", uri="s3://models/m", sha256=digest, size_bytes=len(NEW), deltas=(delta,))


@pytest.mark.parametrize("kind", ["ZstdPatch", "XorZstd"])
def test_a_format_that_is_named_is_the_one_that_is_made(
    place: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (place / "new.onnx").write_bytes(OLD[:-1] + b"!")
    assert make(place, "--format", kind) == 0
    (stanza,) = yaml.safe_load(capsys.readouterr().out)["deltas"]
    assert stanza["format"] == kind


def test_auto_takes_the_smaller_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {}
    for kind in ("ZstdPatch", "XorZstd"):
        assert make(place, "--format", kind) in (0, 3)
        sizes[kind] = (place / "made").stat().st_size if (place / "made").exists() else 10**9
    capsys.readouterr()
    assert make(place) == 0
    (stanza,) = yaml.safe_load(capsys.readouterr().out)["deltas"]
    assert stanza["format"] == min(sizes, key=sizes.__getitem__)


def test_a_delta_that_no_node_would_take_is_not_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "other.onnx").write_bytes(random.Random(2).randbytes(100_000))
    assert make(place, new="other.onnx") == 3
    printed = capsys.readouterr()

    assert "not worth it: nodes take a delta below 85 % of the file; nothing was written" in printed.err
    assert printed.out == ""
    assert not (place / "made").exists()


@pytest.mark.parametrize(
    ("content", "says"), [(OLD, "must be another file"), (b"", "not empty"), (None, "can be read")]
)
def test_what_cannot_be_the_new_file_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, says: str
) -> None:
    (place / "new.onnx").unlink()
    if content is not None:
        (place / "new.onnx").write_bytes(content)
    assert make(place) == 2
    message = capsys.readouterr().err
    assert "NEW: " in message
    assert says in message


def test_a_disk_that_is_full_leaves_nothing(place: Path) -> None:
    command = [sys.executable, "-m", "edgecanary", "model", "delta", "old.onnx", "new.onnx", "-o", "made"]

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))

    done = subprocess.run(
        [*command, "--level", "1"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_large_files,
        env={"PYTHONPATH": str(Path("operator").resolve()), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert "made: cannot be written: " in done.stderr
    assert sorted(path.name for path in place.iterdir()) == ["new.onnx", "old.onnx"]
