"""EdgeModels of versions that exist only here: the same variants each time, other bytes."""

import hashlib
from datetime import datetime

from edgecanary.api.edgemodel import EdgeModel, EdgeModelSpec
from edgecanary.api.fields import JsonObject
from edgecanary.api.rollout import Rollout
from edgecanary.simulator.settings import Version

_DEFAULT: JsonObject = {
    "version": "0",
    "io": {
        "inputs": [{"name": "x", "dtype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "dtype": "FP32", "shape": [-1, 1]}],
    },
    "variants": [
        {
            "name": "fp32",
            "format": "ONNX",
            "entrypoint": "model.onnx",
            "files": [
                {"path": "model.onnx", "uri": "s3://models/model.onnx", "sha256": "0" * 64, "sizeBytes": 1}
            ],
        }
    ],
}


def default_spec() -> EdgeModelSpec:
    """A model with one variant that fits every node."""
    return EdgeModelSpec.model_validate(_DEFAULT)


def spec_of(version: Version, base: EdgeModelSpec) -> EdgeModelSpec:
    """The spec of a version: that of `base` with files of its own."""
    variants = tuple(
        variant.model_copy(
            update={
                "files": tuple(
                    file.model_copy(update={"sha256": _digest(f"{version.name}/{variant.name}/{file.path}")})
                    for file in variant.files
                )
            }
        )
        for variant in base.variants
    )
    return base.model_copy(update={"version": version.name, "variants": variants})


def edge_model(rollout: Rollout, spec: EdgeModelSpec, generation: int, created: datetime) -> EdgeModel:
    """The EdgeModel that the Rollout names, not checked yet."""
    metadata = rollout.metadata.model_copy(
        update={
            "name": rollout.spec.model_ref.name,
            "generation": generation,
            "annotations": {},
            "creation_timestamp": created,
        }
    )
    return EdgeModel(metadata=metadata, spec=spec)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
