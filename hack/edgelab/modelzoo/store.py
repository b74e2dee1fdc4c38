"""The zoo on disk: made once, checked whenever it is opened.

It lies in the cache folder, in `modelzoo/<key>`; the key stands for all that decides the models' bytes.
"""

import hashlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from edgelab.errors import LabError
from edgelab.modelzoo.field import Field, Share, collect
from edgelab.modelzoo.published import Published, published_model
from edgelab.modelzoo.zoo import Made, make_all
from edgelab.paths import cache_folder
from edgelab.tools.progress import only_one, reporting, say

CALIBRATION_PER_LABEL = 8
_INDEX = "zoo.json"
_MAKERS = (
    "features",
    "field",
    "golden",
    "published",
    "quantize",
    "runtime",
    "surgery",
    "tiny",
    "truth",
    "zoo",
)
"""The modules whose text decides the models' bytes."""


class _File(TypedDict):
    name: str
    sha256: str
    size_bytes: int


class _Entry(TypedDict):
    name: str
    version: str
    summary: str
    absolute_tolerance: str
    model: _File
    golden: _File


class _Index(TypedDict):
    models: list[_Entry]


@dataclass(frozen=True)
class BuiltFile:
    """A file of the zoo."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ZooModel:
    """A model with its golden file."""

    name: str
    version: str
    summary: str
    model: BuiltFile
    golden: BuiltFile
    absolute_tolerance: str


@dataclass(frozen=True)
class Zoo(Mapping[str, ZooModel]):
    """All models by name, and the names of the answers in the order of the model's output."""

    folder: Path
    labels: tuple[str, ...]
    models: Mapping[str, ZooModel]

    def __getitem__(self, name: str) -> ZooModel:
        return self.models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)


def open_zoo(cache: Path | None = None) -> Zoo:
    """Open the zoo, making it first when it is not there or not whole; that takes some seconds, once.

    Raises LabError when a model cannot be made, OSError when the cache folder cannot be written.
    """
    published = published_model()
    calibration = collect(published.labels, share=Share.CALIBRATION, per_label=CALIBRATION_PER_LABEL)
    parent = (cache or cache_folder()) / "modelzoo"
    folder = parent / _key(published, calibration)
    zoo = _read(folder, published)
    if zoo is None:
        with only_one("modelzoo"):
            zoo = _read(folder, published) or _make(folder, published, calibration)
    return zoo


def _make(folder: Path, published: Published, calibration: Field) -> Zoo:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        reporting("making the models"),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as new,
    ):
        whole = Path(new, "zoo")
        whole.mkdir()
        models = []
        for made in make_all(published, calibration):
            say(f"  {made.name}: {len(made.model):,} bytes, {made.summary}")
            models.append(_write(whole, made))
        (whole / _INDEX).write_text(json.dumps({"models": models}, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
    zoo = _read(folder, published)
    if zoo is None:
        raise LabError(f"the models in {folder} are not what was just written there: check the disk")
    return zoo


def _write(folder: Path, made: Made) -> _Entry:
    model, golden = f"{made.name}.onnx", f"{made.name}.golden.npz"
    return {
        "name": made.name,
        "version": made.version,
        "summary": made.summary,
        "absolute_tolerance": made.absolute_tolerance,
        "model": _write_file(folder / model, made.model),
        "golden": _write_file(folder / golden, made.golden),
    }


def _write_file(path: Path, content: bytes) -> _File:
    path.write_bytes(content)
    return {"name": path.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _read(folder: Path, published: Published) -> Zoo | None:
    """The zoo in this folder, or None when it is missing or any byte of it is not as written."""
    try:
        index: _Index = json.loads((folder / _INDEX).read_text())
        models = {
            entry["name"]: ZooModel(
                name=entry["name"],
                version=entry["version"],
                summary=entry["summary"],
                model=_checked(folder, entry["model"]),
                golden=_checked(folder, entry["golden"]),
                absolute_tolerance=entry["absolute_tolerance"],
            )
            for entry in index["models"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Zoo(folder, published.labels, models)


def _checked(folder: Path, file: _File) -> BuiltFile:
    path = folder / file["name"]
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise ValueError(f"{path}: its digest is not {file['sha256']}")
    return BuiltFile(path, file["sha256"], len(content))


def _key(published: Published, calibration: Field) -> str:
    """A digest of what decides the bytes: packages, our text, the calibration files, the kind of CPU."""
    digest = hashlib.sha256(published.path.read_bytes())
    for package in ("numpy", "onnx", "onnxruntime", "protobuf"):
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for module in _MAKERS:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    digest.update(calibration.inputs().tobytes())
    digest.update(f"{platform.machine()} {_cpu_features()}".encode())
    return digest.hexdigest()[:16]


def _cpu_features() -> str:
    """What the CPU can do, where the system tells: int8 answers, so golden files, may depend on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
