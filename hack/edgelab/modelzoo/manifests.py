"""What a zoo model looks like as an EdgeModel, and where its files belong in a bucket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from edgelab.modelzoo.features import FEATURE_COUNT
from edgelab.modelzoo.published import INPUT_NAME, OUTPUT_NAME
from edgelab.modelzoo.store import ZooModel
from edgelab.modelzoo.tiny import LABEL_COUNT

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

ENTRYPOINT = "model.onnx"


@dataclass(frozen=True)
class VariantOf:
    """A zoo model as one variant of an EdgeModel, for nodes with these labels (none: every node)."""

    name: str
    model: ZooModel
    node_labels: Mapping[str, str] | None = None


def model_io() -> JsonObject:
    """The `io` of every EdgeModel of the zoo; the `wrong-…` models do not have it."""
    return {
        "inputs": [{"name": INPUT_NAME, "dtype": "INT32", "shape": [-1, FEATURE_COUNT]}],
        "outputs": [{"name": OUTPUT_NAME, "dtype": "FP32", "shape": [-1, LABEL_COUNT]}],
    }


def bucket_files(model: ZooModel) -> dict[str, Path]:
    """The model's files by the keys that `edge_model_spec` names."""
    return {_model_key(model): model.model.path, _golden_key(model): model.golden.path}


def edge_model_spec(
    model: ZooModel,
    base_uri: str,
    *,
    secret: str | None = None,
    variants: Sequence[VariantOf] | None = None,
) -> JsonObject:
    """The spec of an EdgeModel for a zoo model whose files lie under `base_uri`.

    `base_uri` is `s3://bucket`, `s3://bucket/folder` or an https address; `secret` names the Secret with the
    bucket's keys. The version, the golden file and its tolerance are `model`'s; by default it is also the
    only variant.
    """
    spec: JsonObject = {
        "version": model.version,
        "io": model_io(),
        "golden": {
            "uri": _uri(base_uri, _golden_key(model)),
            "sha256": model.golden.sha256,
            "sizeBytes": model.golden.size_bytes,
            "absoluteTolerance": model.absolute_tolerance,
        },
        "variants": [_variant(part, base_uri) for part in variants or [VariantOf(model.name, model)]],
    }
    if secret is not None:
        spec["sourceSecretRef"] = {"name": secret}
    return spec


def edge_model(name: str, namespace: str, spec: JsonObject) -> JsonObject:
    """An EdgeModel manifest."""
    return {
        "apiVersion": "edgecanary.dev/v1alpha1",
        "kind": "EdgeModel",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _variant(part: VariantOf, base_uri: str) -> JsonObject:
    file = part.model.model
    variant: JsonObject = {
        "name": part.name,
        "format": "ONNX",
        "entrypoint": ENTRYPOINT,
        "files": [
            {
                "path": ENTRYPOINT,
                "uri": _uri(base_uri, _model_key(part.model)),
                "sha256": file.sha256,
                "sizeBytes": file.size_bytes,
            }
        ],
    }
    if part.node_labels is not None:
        variant["requires"] = {"nodeSelector": {"matchLabels": dict(part.node_labels)}}
    return variant


def _model_key(model: ZooModel) -> str:
    return str(PurePosixPath(model.name, model.version, ENTRYPOINT))


def _golden_key(model: ZooModel) -> str:
    return str(PurePosixPath(model.name, model.version, "golden.npz"))


def _uri(base_uri: str, key: str) -> str:
    return f"{base_uri.rstrip('/')}/{key}"
