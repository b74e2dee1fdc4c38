"""Every YAML block of the documentation is taken by the program that it is for."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from edgecanary.api.analysis import Analysis
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.fields import ApiModel, JsonObject
from edgecanary.api.rollout import RolloutSpec
from edgelab import tools
from edgelab.controlplane import ControlPlane
from edgelab.paths import ROOT
from tests.unit.docs.pages import blocks, page, pages

_FOREIGN: Mapping[str, str] = {
    "argoproj.io": "Argo CD's kinds; tests/unit/gitops reads the examples",
    "kustomize.toolkit.fluxcd.io": "Flux's kinds; tests/unit/gitops reads the examples",
    "source.toolkit.fluxcd.io": "as above",
    "notification.toolkit.fluxcd.io": "as above",
    "kustomize.config.k8s.io": "read by kubectl, not by the API server; tests/kube/test_install_kubectl.py builds one",
}
"""Groups that the API server does not serve, and who reads them instead."""

_PARTS_OF_OTHERS: Mapping[str, str] = {
    "docs/guides/argocd.md": "parts of an Application and an ApplicationSet; tests/unit/gitops reads whole ones",
}

_DIGEST = "a" * 64


def yaml_blocks() -> Iterator[tuple[str, str]]:
    for path in pages():
        for number, text in enumerate(blocks(page(path), "yaml")):
            yield f"{path}#{number}", text


def documents(text: str) -> list[JsonObject]:
    filled = text.replace("<64 hex>", _DIGEST)
    return [document for document in yaml.safe_load_all(filled) if isinstance(document, dict)]


def is_object(document: JsonObject) -> bool:
    return "apiVersion" in document and "kind" in document


ALL = dict(yaml_blocks())
OBJECTS = [name for name, text in ALL.items() if all(map(is_object, documents(text)))]
PARTS = [name for name in ALL if name not in OBJECTS and name.partition("#")[0] not in _PARTS_OF_OTHERS]


@pytest.mark.parametrize("name", OBJECTS)
def test_the_api_server_takes_every_manifest(control_plane: ControlPlane, name: str) -> None:
    ours = [
        document
        for document in documents(ALL[name])
        if str(document["apiVersion"]).partition("/")[0] not in _FOREIGN
    ]
    for document in ours:
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        if namespace := metadata.get("namespace"):
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(space))
        _dry_run(control_plane, document)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_something_fits_where_it_belongs(
    control_plane: ControlPlane, tmp_path: Path, name: str
) -> None:
    (part,) = documents(ALL[name])
    if whole := _in_a_manifest(part):
        _dry_run(control_plane, whole)
    elif "scrape_configs" in part or "storage" in part:
        _check_prometheus(part, tmp_path)
    else:
        _check_values(part, tmp_path)


def _dry_run(control_plane: ControlPlane, document: JsonObject) -> None:
    words = control_plane.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(document)
    )
    assert "(server dry run)" in words


def _in_a_manifest(part: JsonObject) -> JsonObject | None:
    """The manifest that the part is completed to; None when it is of something else."""
    (model, rollout) = (
        next(item for item in _manifests("docs/guides/first-rollout.md") if item["kind"] == kind)
        for kind in ("EdgeModel", "Rollout")
    )
    spec = rollout["spec"]
    assert isinstance(spec, dict)
    if set(part) <= _fields(EdgeModelSpec):
        return _with(model, part)
    if set(part) <= _fields(RolloutSpec):
        return _with(rollout, part)
    if set(part) <= _fields(Analysis):
        analysis = spec["analysis"]
        assert isinstance(analysis, dict)
        return _with(rollout, {"analysis": {**analysis, **part}})
    return None


def _with(manifest: JsonObject, part: JsonObject) -> JsonObject:
    spec = manifest["spec"]
    assert isinstance(spec, dict)
    return {**manifest, "metadata": {"name": "part", "namespace": "default"}, "spec": {**spec, **part}}


def _manifests(path: str) -> Iterator[JsonObject]:
    for text in blocks(page(path), "yaml"):
        yield from filter(is_object, documents(text))


def _fields(model: type[ApiModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _check_prometheus(part: JsonObject, folder: Path) -> None:
    # Some builds of Prometheus, Debian's among them, come without service discovery on Kubernetes.
    for job in part.get("scrape_configs", []):  # type: ignore[union-attr]
        del job["kubernetes_sd_configs"]  # type: ignore[arg-type, union-attr]
    text = yaml.safe_dump(part)
    path = folder / "prometheus.yml"
    path.write_text(text)
    _run(tools.promtool(), "check", "config", "--syntax-only", path)


def _check_values(part: JsonObject, folder: Path) -> None:
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(part))
    _run(tools.helm(), "template", "edgecanary", ROOT / "charts" / "edgecanary", "-f", path)


def _run(*command: str | Path) -> None:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
