"""Copies of the manifests in examples/ with this machine's addresses, keys and digests filled in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import yaml

from edgecanary.api.edgemodel import EdgeModel
from edgecanary.artifact.revision import revision_digest
from edgelab.api import JsonObject
from edgelab.errors import LabError
from edgelab.modelzoo import BuiltFile, Zoo
from edgelab.paths import ROOT

EXAMPLES = ROOT / "examples" / "kubectl"


@dataclass(frozen=True)
class Version:
    """One version of the demo's model: its manifest, and the files that it names by their keys."""

    name: str
    revision: str
    manifest: Path
    files: Mapping[str, BuiltFile]

    @property
    def short(self) -> str:
        """The version and the beginning of its revision."""
        return f"{self.name} ({self.revision[:8]})"


class Renderer:
    """Writes the copies.

    Args:
        folder: where to, made when needed.
        zoo: the models whose files are published.
        prometheus_url: the Prometheus that gates ask.
        bucket_keys: the data of the Secret `model-bucket`.
    """

    def __init__(
        self, folder: Path, zoo: Zoo, *, prometheus_url: str, bucket_keys: Mapping[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._zoo = zoo
        self._prometheus_url = prometheus_url
        self._bucket_keys = bucket_keys

    def plain(self, name: str) -> Path:
        """The copy of a manifest that is not a model's."""
        manifest = _read(name)
        if manifest["kind"] == "Secret":
            manifest["stringData"] = dict(self._bucket_keys)
        if manifest["kind"] == "Rollout":
            manifest["spec"]["analysis"]["prometheus"]["url"] = self._prometheus_url
        return self._write(name, manifest)

    def version(self, number: str) -> Version:
        """The copy of a version's EdgeModel, with the files to publish for it.

        A variant's file is called after a model of the zoo; the golden file is the first variant's.

        Raises:
            LabError: the example names a file that the zoo does not have.
        """
        name = f"model-{number}.yaml"
        manifest = _read(name)
        first = manifest["spec"]["variants"][0]["files"][0]["uri"]
        files: dict[str, BuiltFile] = {}
        for place in _places(manifest["spec"]):
            path = PurePosixPath(urlsplit(place["uri"]).path)
            model = PurePosixPath(first).stem if path.name == "golden.npz" else path.stem
            if model not in self._zoo:
                raise LabError(f"{EXAMPLES / name}: {place['uri']}: the zoo has no model {model!r}")
            built = self._zoo[model].golden if path.name == "golden.npz" else self._zoo[model].model
            place["sha256"], place["sizeBytes"] = built.sha256, built.size_bytes
            files[str(path).lstrip("/")] = built
        revision = revision_digest(EdgeModel.model_validate(manifest).spec)
        return Version(number, revision, self._write(name, manifest), files)

    def _write(self, name: str, manifest: JsonObject) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(
            f"# {EXAMPLES.relative_to(ROOT) / name} with this machine's addresses, keys and digests\n"
            + yaml.safe_dump(manifest, sort_keys=False)
        )
        return path


def _read(name: str) -> JsonObject:
    manifest: JsonObject = yaml.safe_load((EXAMPLES / name).read_text())
    return manifest


def _places(spec: JsonObject) -> Iterator[JsonObject]:
    """Everything in an EdgeModel's spec that says where a file comes from."""
    yield spec["golden"]
    for variant in spec["variants"]:
        yield from variant["files"]
