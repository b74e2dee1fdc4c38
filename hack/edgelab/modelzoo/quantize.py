"""Int8 versions of a model, made with calibration on real files: one made with care, one without."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from edgelab.modelzoo.features import Features
from edgelab.modelzoo.published import INPUT_NAME


@dataclass(frozen=True)
class Recipe:
    """How a model is quantized; activations are unsigned, weights signed: every CPU computes that fast."""

    format: QuantFormat
    operators: tuple[str, ...] | None
    """The operators to quantize; None is all that the quantizer knows."""
    seven_bit_weights: bool
    """Products of 8-bit values can overflow the int16 sums of CPUs without VNNI."""
    per_channel: bool = False


PER_TENSOR = Recipe(QuantFormat.QDQ, ("Conv", "MatMul"), seven_bit_weights=True)
"""Only the operators that hold the weights."""

PER_CHANNEL = replace(PER_TENSOR, per_channel=True)
"""The same with a scale for each channel of the weights."""

CARELESS = Recipe(QuantFormat.QOperator, None, seven_bit_weights=False)
"""Every operator, layer norms and softmax too: small and fast like the others, with garbage for answers."""


class _Reader:
    """Hands the calibration files out one by one."""

    def __init__(self, calibration: Features) -> None:
        self._batches: Iterator[Features] = iter(calibration[:, None, :])

    def get_next(self) -> dict[str, Features] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def quantize(source: ModelProto, calibration: Features, recipe: Recipe) -> ModelProto:
    """An int8 version of a model; `calibration` is a batch of features, shape [files, 2048]."""
    with tempfile.TemporaryDirectory(prefix="edgelab-quantize-") as folder:
        target = Path(folder, "int8.onnx")
        with _quiet():
            quantize_static(
                source,
                target,
                _Reader(calibration),
                quant_format=recipe.format,
                op_types_to_quantize=None if recipe.operators is None else list(recipe.operators),
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=recipe.seven_bit_weights,
                per_channel=recipe.per_channel,
            )
        return onnx.load(str(target))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer prints its advice and whole tensors' types; neither tells a reader of ours anything."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
