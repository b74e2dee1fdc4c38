"""The published file-type model, as it lies in its installed package."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from edgelab.errors import MissingToolError
from edgelab.modelzoo.features import BLOCK_BYTES, END_BYTES, FEATURE_COUNT, PADDING

INPUT_NAME = "bytes"
OUTPUT_NAME = "target_label"

_PACKAGE = "magika"
_FOLDER = Path("models", "standard_v3_3")
_FEATURES = {
    "beg_size": END_BYTES,
    "mid_size": 0,
    "end_size": END_BYTES,
    "block_size": BLOCK_BYTES,
    "padding_token": PADDING,
    "use_inputs_at_offsets": False,
}


@dataclass(frozen=True)
class Published:
    """The model file and the names of its answers, in the order of its output."""

    path: Path
    labels: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int]:
        """Any number of files, 2,048 values each, INT32."""
        return (-1, FEATURE_COUNT)

    @property
    def output_shape(self) -> tuple[int, int]:
        """A score for each label, FP32."""
        return (-1, len(self.labels))


def published_model() -> Published:
    """Find the model in the environment.

    Raises MissingToolError when the package is not installed, or when its model reads files otherwise than
    `edgelab.modelzoo.features` does.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingToolError(
            f"the package {_PACKAGE} is not installed: run `make` to install the development environment"
        )
    folder = Path(spec.submodule_search_locations[0]) / _FOLDER
    config_path = folder / "config.min.json"
    if not config_path.is_file():
        raise MissingToolError(
            f"{folder} is not in this version of {_PACKAGE}: install the one that uv.lock names"
        )
    config: dict[str, object] = json.loads(config_path.read_text())
    for name, expected in _FEATURES.items():
        if config.get(name) != expected:
            raise MissingToolError(
                f"{config_path}: {name} is {config.get(name)!r}, {expected!r} was expected: "
                "edgelab.modelzoo.features must follow the model"
            )
    labels = config.get("target_labels_space")
    if not isinstance(labels, list):
        raise MissingToolError(f"{config_path}: target_labels_space is not a list of labels")
    return Published(folder / "model.onnx", tuple(str(label) for label in labels))
